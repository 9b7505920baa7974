"""Posted rows into the prepared sources at once, before everything is prepared anew.

What follows from the items for users and models (statistics, models of items) waits for the next
preparation, which comes to the same items and users.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock

from feast_fusion.errors import SchemaError
from feast_fusion.files import digest_file, recover_folder, replaced_file, replaced_folder
from feast_fusion.parquet.whole import read_parquet
from feast_fusion.sealed_json import read_json, write_json
from intake.journal_file import journal_files
from intake.journal_index import JournalIndex
from intake.posted.posted_row import KEYS, ROW_FORMAT, PostedRow, Table, known_rows
from intake.posted.posted_versions import fold_rows, withdrawn_items
from intake.tombstones import Tombstones
from intake.workspace import Workspace
from transformations.source_files import whole_table, write_table


@dataclass(frozen=True)
class TouchedRows:
    """What posted rows have touched.

    Attributes
    ----------
    versions : by table, all versions of the items or users that are touched
    gone : items that are withdrawn
    """

    versions: dict[Table, pa.Table] = field(default_factory=dict)
    gone: tuple[str, ...] = ()


def fold_posted(
    workspace: Workspace,
    write: Callable[[TouchedRows], None],
    remove: Callable[[TouchedRows], None],
) -> bool:
    """Brings what was posted into the stores and the sources; whether anything was left to do.

    The stores come first, then the sources, then what is gone leaves the stores. A run that is
    killed in between is completed by the next one, which does it all again.

    Parameters
    ----------
    write, remove : bring the stores up to date; may be called again with what they have

    Raises
    ------
    SchemaError
        The journal or a source is damaged.
    Timeout
        The sources are being prepared, or another process is at it.
    """
    if not _has_more(workspace):
        return False
    with FileLock(workspace.root / "sources.lock", timeout=0):
        recover_folder(workspace.sources)
        manifest, ends = read_json(workspace.manifest), rows_written(workspace)
        unwritten = _rows_behind(workspace, ends)
        if not unwritten:
            return False
        prepared = dict(manifest.get("posted", {}))
        new = _rows_behind(workspace, prepared)
        tables = _folded(workspace, manifest, new)
        touched = _touched(tables, manifest["withdrawn"], unwritten)
        write(touched)
        if new:
            _replace(workspace, tables, {**manifest, "posted": prepared})
        remove(touched)
        with replaced_file(workspace.written_rows, sync=True) as path:
            write_json(path, {"ends": ends})
        return True


def _has_more(workspace: Workspace) -> bool:
    """Whether the journal is longer than what is in the stores; costs next to nothing."""
    ends = rows_written(workspace)
    files = journal_files(workspace.posted)
    return any(path.stat().st_size > ends.get(path.name, 0) for path in files)


def rows_written(workspace: Workspace) -> dict[str, int]:
    """By file of the journal of posted rows, how many of its bytes are in sources and stores."""
    try:
        ends: dict[str, int] = read_json(workspace.written_rows)["ends"]
    except SchemaError:
        return {}
    return ends


def _rows_behind(workspace: Workspace, ends: dict[str, int]) -> list[PostedRow]:
    """The rows behind `ends`, in the order they were received; `ends` moves to their end."""
    index = JournalIndex(workspace.posted, ROW_FORMAT)
    pieces = index.pieces_behind(dict(ends), ends)
    rows = known_rows((row for piece in pieces for row in piece), Tombstones(workspace.forgotten))
    return sorted(rows, key=lambda row: row.received)


def _folded(
    workspace: Workspace, manifest: dict[str, Any], new: Iterable[PostedRow]
) -> dict[Table, pa.Table]:
    """The tables after the new rows; `manifest` is told what was withdrawn."""
    rows, tables = list(new), {}
    withdrawn = manifest.get("withdrawn", {})
    for name in KEYS:
        if workspace.source(name).is_file():
            folded = fold_rows(read_parquet(workspace.source(name)), name, rows, withdrawn)
            tables[name] = folded.rows
            if name == "items":
                manifest["withdrawn"] = folded.withdrawn
    return tables


def _touched(
    tables: dict[Table, pa.Table], withdrawn: dict[str, list[int]], rows: list[PostedRow]
) -> TouchedRows:
    versions = {}
    for name, table in tables.items():
        ids = pa.array({row.key for row in rows if row.table == name}, pa.string())
        versions[name] = table.filter(pc.is_in(table[KEYS[name]], value_set=ids))
    gone = withdrawn_items(versions["items"], withdrawn, max(row.received for row in rows))
    return TouchedRows(versions, tuple(sorted(gone)))


def _replace(workspace: Workspace, tables: dict[Table, pa.Table], manifest: dict[str, Any]) -> None:
    """The sources with these tables in place of theirs; the other files are the same ones."""
    sources = workspace.sources
    with replaced_folder(sources) as building:
        for name, table in tables.items():
            if len(table) == manifest["rows"][name]:
                continue
            path = building / workspace.source(name).name
            source = whole_table(name, table, KEYS[name], "event_timestamp")
            write_table(path, source, lambda *_: None)
            manifest["rows"][name] = len(table)
            manifest["sha256"][path.name] = digest_file(path)
        for path in sources.rglob("*"):
            _link(path, building / path.relative_to(sources))
        write_json(building / workspace.manifest.name, manifest)


def _link(path: Path, target: Path) -> None:
    if path.is_dir():
        target.mkdir(exist_ok=True)
    elif not target.exists() and path.suffix == ".parquet":
        target.parent.mkdir(exist_ok=True)
        os.link(path, target)
