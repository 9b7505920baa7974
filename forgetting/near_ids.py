"""Ids of users that a mistyped id may have meant."""

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from feast_fusion.parquet.whole import read_parquet
from intake.journal_content import read_content, read_journal
from intake.posted.posted_row import ROW_FORMAT
from intake.workspace import Workspace
from transformations.names import INTERACTIONS, USERS

_NEAREST = """
    SELECT id FROM ids
    WHERE damerau_levenshtein(lower(id), lower($id)) <= $most
    ORDER BY damerau_levenshtein(lower(id), lower($id)), id LIMIT $n
"""
_MOST = 2  # characters that are another, missing, or in another order


def near_ids(workspace: Workspace, user_id: str, n: int = 3) -> list[str]:
    """The `n` ids of users nearest to `user_id`: of another case, or one or two characters off.

    Of an id of three to five characters one may be off, of a shorter one none.
    """
    ids = pa.table({"id": _known_ids(workspace)})
    most = min(_MOST, len(user_id) // 3)
    with duckdb.connect() as connection:
        connection.register("ids", ids)
        asked = {"id": user_id, "most": most, "n": n}
        return [found for (found,) in connection.execute(_NEAREST, asked).fetchall()]


def _known_ids(workspace: Workspace) -> pa.ChunkedArray:
    """Of everybody with a profile or an event, prepared or posted; some are there twice."""
    sources = [workspace.source(name) for name in (USERS, INTERACTIONS)]
    found = [read_parquet(path, ["user_id"])["user_id"] for path in sources if path.is_file()]
    found.append(read_journal(workspace.events)["user_id"])
    posted = read_content(workspace.posted, ROW_FORMAT).records
    found.append(posted.filter(pc.equal(posted["table"], "users"))["key"])
    chunks = [chunk for each in found for chunk in each.chunks]
    return pc.unique(pa.chunked_array(chunks, pa.string()))
