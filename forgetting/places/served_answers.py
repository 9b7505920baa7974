"""Rows of a person in the log of served features."""

from collections.abc import Iterator
from contextlib import suppress

import pyarrow as pa
import pyarrow.compute as pc

from feast_fusion.files import replaced_file
from feast_fusion.parquet.seal import write_parquet
from feast_fusion.parquet.whole import read_parquet
from forgetting.case import Case, Surroundings
from transformations.served_files import served_files


def erase(case: Case) -> int:
    """Write files of the log anew without these people; how many rows."""
    n_erased = 0
    for path in served_files(case.workspace.served):
        with suppress(FileNotFoundError):  # a service has removed the oldest
            is_theirs = case.is_theirs(read_parquet(path, ["user_id"])["user_id"])
            if is_theirs.all():
                path.unlink()
            elif is_theirs.any():
                kept = read_parquet(path).filter(pa.array(~is_theirs))
                with replaced_file(path, sync=True) as building:
                    write_parquet(building, kept)
            n_erased += int(is_theirs.sum())
    return n_erased


def read(place: Surroundings, user_id: str) -> Iterator[tuple[str, pa.Table]]:
    """What was served to a user."""
    tables = [read_parquet(path) for path in served_files(place.workspace.served)]
    if tables:
        table = pa.concat_tables(tables, promote_options="permissive")
        yield "answers", table.filter(pc.equal(table["user_id"], user_id))
