"""Memory depends on the batch, not on the window."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.redis_process import RunningRedis
from tests.feast_fusion.feast_repo import DAY_0, day, make_repo, redis_store
from tests.feast_fusion.online.redis_faults import open_redis

pytestmark = pytest.mark.filterwarnings("ignore:Batch feature views are experimental")

WIDE = """
import inspect
from feast import BatchFeatureView, Entity, FeatureView, Field, FileSource, Project, ValueType
from feast.data_format import ParquetFormat
from feast.types import Array, Float32, String

project = Project(name="pages")
page = Entity(name="page", join_keys=["page_id"], value_type=ValueType.STRING)
pages = FileSource(
    name="pages", path="{folder}/pages.parquet", timestamp_field="event_timestamp"
)
page_text = FeatureView(
    name="page_text", entities=[page], source=pages, online=False,
    schema=[Field(name="body", dtype=String)],
)


def embed(df):
    import numpy as np

    numbers = np.random.default_rng(0)
    return df.assign(emb=list(numbers.standard_normal((len(df), 384), dtype=np.float32)))


page_vector = BatchFeatureView(
    name="page_vector", entities=[page], source=[page_text], mode="pandas",
    sink_source=FileSource(
        name="sink", path="{folder}/sinks/page_vector", file_format=ParquetFormat(),
        timestamp_field="event_timestamp",
    ),
    online=True, offline=True, udf=embed, udf_string=inspect.getsource(embed),
    schema=[Field(name="emb", dtype=Array(Float32), vector_index=True, vector_length=384)],
)
"""

# The peak of a child by its own account: ru_maxrss would include what the parent had at the fork.
MEASURED = """
import sys
from feast import FeatureStore
from datetime import datetime

FeatureStore(".").materialize(*map(datetime.fromisoformat, sys.argv[1:]))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def _peak_kib(folder: Path, server: RunningRedis, n_rows: int) -> int:
    repo = make_repo(folder, online_store=redis_store(server), definitions=WIDE, batch_rows=10_000)
    numbers = np.arange(n_rows)
    times = numbers * 1_000_000 + int(DAY_0.timestamp()) * 1_000_000
    table = {
        "page_id": [f"p{i}" for i in numbers % 2_000],
        "event_timestamp": pa.array(times, pa.timestamp("us", tz="UTC")),
        "body": [f"text {i}" for i in numbers],
    }
    pq.write_table(pa.table(table), repo.folder / "pages.parquet")
    repo.store_apply()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, day(0), day(9)],
        cwd=repo.folder,
        env=repo.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    n_stored = sum(pq.read_metadata(path).num_rows for path in repo.sink.glob("part-*"))
    assert n_stored == n_rows
    shutil.rmtree(repo.sink)
    return int(done.stdout.split()[-1])


def test_peak_memory_does_not_grow_with_the_window(tmp_path: Path) -> None:
    with open_redis(tmp_path / "redis") as server:
        few = _peak_kib(tmp_path / "few", server, 50_000)
        many = _peak_kib(tmp_path / "many", server, 200_000)
    assert many < 1.2 * few, f"{few} KiB with 50,000 rows, {many} KiB with 200,000"
