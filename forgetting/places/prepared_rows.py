"""Rows of a person in the prepared sources, rejected rows included."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feast_fusion.parquet.whole import read_parquet
from forgetting.case import Case, Surroundings
from intake.workspace import Workspace
from transformations.prepared_sources import write_sources

_KEY = "user_id"


def erase(case: Case) -> int:
    """Prepare again without these people; how many rows of theirs there were."""
    tables = _tables(case.workspace)
    n_erased = sum(
        int(case.is_theirs(read_parquet(p, ["user_id"])["user_id"]).sum()) for p in tables
    )
    if case.workspace.sources.is_dir():
        write_sources(case.workspace)
    return n_erased


def read(place: Surroundings, user_id: str) -> Iterator[tuple[str, pa.Table]]:
    """The rows of a user, by source."""
    for path in _tables(place.workspace):
        table = read_parquet(path)
        name = path.relative_to(place.workspace.sources).with_suffix("").as_posix()
        yield name, table.filter(pc.equal(table[_KEY].cast(pa.string()), user_id))


def _tables(workspace: Workspace) -> list[Path]:
    """The sources that have rows of users."""
    found = sorted(workspace.sources.rglob("*.parquet"))
    return [path for path in found if _KEY in pq.read_schema(path).names]
