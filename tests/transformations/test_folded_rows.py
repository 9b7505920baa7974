"""Posted rows in the prepared sources at once: as prepare would have it, and all or nothing."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from filelock import FileLock, Timeout

from feast_fusion.parquet.whole import read_parquet
from feast_fusion.times import to_micros
from intake.event import EVENT_FORMAT, Event
from intake.journal import Journal
from intake.posted.posted_row import ROW_FORMAT, Change, PostedRow, Table
from intake.workspace import Workspace, open_workspace
from tests.datasets import make_films
from transformations.folded_rows import TouchedRows, fold_posted, rows_written
from transformations.prepared_sources import write_sources

T0 = to_micros(datetime(2024, 5, 1, tzinfo=UTC))


class _KilledError(Exception):
    pass


@pytest.fixture
def films(tmp_path: Path) -> Workspace:
    path = make_films(tmp_path / "films", n_users=20, n_items=30, n_events=400)
    workspace = open_workspace(path, tmp_path / "home")
    write_sources(workspace)
    return workspace


def posted(table: Table, key: str, change: Change, at: int, values: str = "{}") -> PostedRow:
    return PostedRow(f"{table}-{key}-{at}", table, key, change, T0 + at, T0 + at, values)


ROWS = [
    posted("items", "new", "put", 1, '{"title":"New","year":2031,"genres":["Drama"]}'),
    posted("items", "f3", "patch", 2, '{"title":"Changed"}'),
    posted("items", "f4", "delete", 3),
    posted("users", "u1", "patch", 4, '{"age":99}'),
]


def journal(workspace: Workspace, *rows: PostedRow) -> None:
    with Journal(workspace.posted, ROW_FORMAT) as opened:
        opened.append(rows)


def tables(workspace: Workspace) -> dict[str, pa.Table]:
    return {path.stem: read_parquet(path) for path in workspace.sources.glob("*.parquet")}


def nothing(_: TouchedRows) -> None:
    pass


def test_folded_at_once_or_prepared_anew_the_items_and_users_are_the_same(films: Workspace) -> None:
    before = {path.name: path.stat().st_ino for path in films.sources.glob("*.parquet")}
    journal(films, *ROWS[:2])
    assert fold_posted(films, nothing, nothing)
    journal(films, *ROWS[2:])
    touched: list[TouchedRows] = []
    assert fold_posted(films, touched.append, touched.append)
    assert not fold_posted(films, nothing, nothing)
    assert [each.gone for each in touched] == [("f4",), ("f4",)]
    assert touched[0].versions["users"]["age"].to_pylist() == [21, 99]
    folded, withdrawn = tables(films), films.read_withdrawn()
    assert withdrawn == {"f4": [T0 + 3]}
    after = {path.name: path.stat().st_ino for path in films.sources.glob("*.parquet")}
    assert {name for name in before if before[name] != after[name]} == {
        *("items.parquet", "users.parquet")
    }
    assert not write_sources(films).is_unchanged
    assert films.read_withdrawn() == withdrawn
    prepared = tables(films)
    assert prepared["items"].equals(folded["items"])
    assert prepared["users"].equals(folded["users"])
    assert write_sources(films).is_unchanged


def test_an_event_of_an_item_that_is_in_no_file_is_prepared(films: Workspace) -> None:
    journal(films, ROWS[0])
    with Journal(films.events, EVENT_FORMAT) as opened:
        opened.append([Event("e", "u1", "new", T0 + 9, 5.0, None, T0 + 9)])
    write_sources(films)
    assert "new" in tables(films)["interactions"]["item_id"].to_pylist()


@pytest.mark.parametrize("at", ["write", "remove"])
def test_what_a_kill_leaves_undone_the_next_fold_does(films: Workspace, at: str) -> None:
    def killed(_: TouchedRows) -> None:
        raise _KilledError

    journal(films, *ROWS)
    steps: dict[str, Callable[[TouchedRows], None]] = {"write": nothing, "remove": nothing}
    with pytest.raises(_KilledError):
        fold_posted(films, **(steps | {at: killed}))
    assert rows_written(films) == {}
    assert ("new" in tables(films)["items"]["item_id"].to_pylist()) is (at == "remove")
    told: list[TouchedRows] = []
    assert fold_posted(films, told.append, told.append)
    assert [each.gone for each in told] == [("f4",), ("f4",)]
    assert set(told[0].versions["items"]["item_id"].to_pylist()) == {"new", "f3", "f4"}
    assert tables(films)["items"]["item_id"].to_pylist().count("new") == 1


def test_rows_that_only_prepare_has_seen_still_go_to_the_stores(films: Workspace) -> None:
    journal(films, ROWS[0])
    write_sources(films)
    told: list[TouchedRows] = []
    assert fold_posted(films, told.append, nothing)
    assert told[0].versions["items"]["item_id"].to_pylist() == ["new"]


def test_nobody_is_waited_for(films: Workspace) -> None:
    with FileLock(films.root / "sources.lock"):
        assert not fold_posted(films, nothing, nothing)  # nothing is there to be done
        journal(films, ROWS[0])
        with pytest.raises(Timeout):
            fold_posted(films, nothing, nothing)
