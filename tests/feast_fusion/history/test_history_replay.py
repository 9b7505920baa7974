"""Any sequence of growing sources and overlapping windows leaves each row once."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import BatchFeatureView, Entity, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.infra.common.materialization_job import MaterializationJobStatus, MaterializationTask
from feast.types import Int64, String
from hypothesis import find, given, settings
from hypothesis import strategies as st

from feast_fusion.history_engine import HistoryEngine
from feast_fusion.times import TIMESTAMP
from tests.feast_fusion.feast_repo import DAY_0

pytestmark = pytest.mark.filterwarnings("ignore:Batch feature views are experimental")

Row = tuple[str | None, int, int]  # key, day, value
Step = tuple[list[Row], int, int]  # rows added to the source, the window's days
Rule = Callable[[int, int, int], bool]  # day, start, end

ROWS = st.lists(
    st.tuples(st.sampled_from(["a", "b", None]), st.integers(0, 3), st.integers(0, 9)), max_size=6
)
STEPS = st.lists(st.tuples(ROWS, st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=4)

USER = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
USER_KEY = Field(name="user_id", dtype=String)


def in_window(day: int, start: int, end: int) -> bool:
    return start <= day <= end


def without_its_end(day: int, start: int, end: int) -> bool:
    return start <= day < end


def oracle(steps: list[Step], rule: Rule = in_window) -> list[Row]:
    """What the sink holds: of each key and day the last row, as of the first run that saw it."""
    source: list[Row] = []
    stored: list[Row] = []
    for added, start, end in steps:
        source += added
        last = {row[:2]: position for position, row in enumerate(source)}
        known = {row[:2] for row in stored}
        stored += [
            row
            for position, row in enumerate(source)
            if rule(row[1], start, end) and last[row[:2]] == position and row[:2] not in known
        ]
    return stored


def moment(day: int) -> datetime:
    return DAY_0 + timedelta(days=day)


def count_calls(df: pd.DataFrame) -> pd.DataFrame:
    import pathlib

    with pathlib.Path(df["log"].iloc[0]).open("a") as log:
        log.write("x" * len(df))
    return df.assign(twice=df["n"] * 2)


def view(folder: Path) -> BatchFeatureView:
    source = FileSource(path=str(folder / "source.parquet"), timestamp_field="at")
    upstream = FeatureView(
        name="events",
        entities=[USER],
        source=source,
        schema=[USER_KEY, Field(name="n", dtype=Int64), Field(name="log", dtype=String)],
    )
    return BatchFeatureView(
        name="derived",
        entities=[USER],
        mode="pandas",
        source=[upstream],
        sink_source=FileSource(path=str(folder / "sink"), timestamp_field="at"),
        online=False,
        offline=True,
        udf=count_calls,
        schema=[USER_KEY, Field(name="twice", dtype=Int64)],
    )


def run(steps: list[Step], folder: Path, batch_rows: int) -> tuple[list[Row], int]:
    """The rows of the sink after all steps, and how many rows were transformed."""
    config = RepoConfig(
        project="p", provider="local", registry="unused.db", entity_key_serialization_version=3
    )
    engine = HistoryEngine(
        repo_config=config, offline_store=None, online_store=None, batch_rows=batch_rows
    )
    derived, source, log = view(folder), [], folder / "log"
    engine.update("p", [], [derived], [], [])  # as feast apply does
    log.touch()
    for added, start, end in steps:
        source += added
        columns = [[row[0] for row in source], [moment(row[1]) for row in source]]
        columns += [[row[2] for row in source], [str(log)] * len(source)]
        types = pa.schema(
            {"user_id": pa.string(), "at": TIMESTAMP, "n": pa.int64(), "log": pa.string()}
        )
        pq.write_table(pa.table(columns, schema=types), folder / "source.parquet")
        task = MaterializationTask("p", derived, moment(start), moment(end))
        (job,) = engine.materialize(None, task)
        assert job.status() is MaterializationJobStatus.SUCCEEDED, job.error()
    parts = sorted((folder / "sink").glob("*.parquet"))
    stored = pl.concat([pl.read_parquet(part) for part in parts])
    rows = [(key, (at - DAY_0).days, twice // 2) for key, twice, at in stored.rows()]
    return rows, len(log.read_text())


@settings(max_examples=40)
@given(STEPS, st.integers(1, 4))
def test_each_row_is_stored_once_and_transformed_once(steps: list[Step], batch_rows: int) -> None:
    with TemporaryDirectory() as folder:
        stored, n_transformed = run(steps, Path(folder), batch_rows)
    assert stored == oracle(steps)
    assert n_transformed == len(stored)


def test_the_oracle_catches_a_window_without_its_end() -> None:
    assert find(STEPS, lambda steps: oracle(steps, without_its_end) != oracle(steps))
    steps: list[Step] = [([("a", 1, 1)], 0, 1)]
    with TemporaryDirectory() as folder:
        stored, _ = run(steps, Path(folder), 1)
    assert stored == oracle(steps) != oracle(steps, without_its_end)
