"""All that a journal has, archived or not, as a table."""

from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from intake.event import EVENT_FORMAT, Event
from intake.journal_archive import archive_files, archived_bytes, file_tables, read_archived
from intake.journal_file import journal_files
from intake.record_format import RecordFormat


class JournalContent(NamedTuple):
    """All records of a journal, and how far each file was read."""

    records: pa.Table
    ends: dict[str, int]


def read_content(folder: Path, of: RecordFormat[Any]) -> JournalContent:
    """What the journal in `folder` has, archived files included.

    Each id is there once, in the order they were received: of several lines with one id the first
    received stays. A file that is being written is read up to its last whole line. Without a
    journal the table is empty.

    Raises
    ------
    SchemaError
        A line that had been synced is damaged; the message names the file and the line.
    """
    ends: dict[str, int] = {}
    tables = {path.stem: [*file_tables(path, of, ends)] for path in journal_files(folder)}
    for path in archive_files(folder):
        tables[path.stem] = [read_archived(path)]
        ends[f"{path.stem}.jsonl"] = archived_bytes(path)
    in_order = [table for stem in sorted(tables) for table in tables[stem]]
    if not in_order:
        return JournalContent(of.schema.empty_table(), ends)
    frame = pl.DataFrame(pa.concat_tables(in_order)).with_row_index("")
    kept = frame.select("", of.id_column, "received").sort("received", maintain_order=True)
    rows = kept.unique(of.id_column, keep="first", maintain_order=True)[""].to_arrow()
    return JournalContent(pa.concat_tables(in_order).take(rows).combine_chunks(), ends)


def read_journal(folder: Path) -> pa.Table:
    """The events of the journal in `folder`, of the schema `EVENTS`; as `read_content`."""
    return read_content(folder, EVENT_FORMAT).records


def read_events(folder: Path) -> list[Event]:
    """What `read_journal` gives, as events."""
    return EVENT_FORMAT.to_records(read_journal(folder))


def journal_keys(folder: Path) -> list[tuple[str, str]]:
    """Kind, "user" or "item", and id of all whose events are in the journal, sorted."""
    events = read_journal(folder)
    return [
        (kind, each)
        for kind in ("item", "user")
        for each in sorted(pc.unique(events[f"{kind}_id"]).to_pylist())
    ]
