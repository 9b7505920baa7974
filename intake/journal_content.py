"""All that a journal has, archived or not, as a table."""

from pathlib import Path
from typing import NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from intake.event import EVENTS, Event, table_to_events
from intake.journal_archive import archive_files, archived_bytes, file_tables, read_archived
from intake.journal_file import journal_files


class JournalContent(NamedTuple):
    """All events of a journal, as `read_journal` gives them, and how far each file was read."""

    events: pa.Table
    ends: dict[str, int]


def read_content(folder: Path) -> JournalContent:
    """What the journal in `folder` has, archived files included; raises as `read_journal`."""
    ends: dict[str, int] = {}
    tables = {path.stem: [*file_tables(path, ends)] for path in journal_files(folder)}
    for path in archive_files(folder):
        tables[path.stem] = [read_archived(path)]
        ends[f"{path.stem}.jsonl"] = archived_bytes(path)
    in_order = [table for stem in sorted(tables) for table in tables[stem]]
    if not in_order:
        return JournalContent(EVENTS.empty_table(), ends)
    frame = pl.DataFrame(pa.concat_tables(in_order)).with_row_index("")
    kept = frame.select("", "event_id", "received").sort("received", maintain_order=True)
    rows = kept.unique("event_id", keep="first", maintain_order=True)[""].to_arrow()
    return JournalContent(pa.concat_tables(in_order).take(rows).combine_chunks(), ends)


def read_journal(folder: Path) -> pa.Table:
    """All events of the journal in `folder`, each event_id once, in the order they were received.

    Of several lines with one event_id the first received stays. A file that is being written is
    read up to its last whole line. Without a journal the table is empty.

    Returns
    -------
    Table of the schema `intake.event.EVENTS`.

    Raises
    ------
    SchemaError
        A line that had been synced is damaged; the message names the file and the line.
    """
    return read_content(folder).events


def read_events(folder: Path) -> list[Event]:
    """What `read_journal` gives, as events."""
    return table_to_events(read_journal(folder))


def journal_keys(folder: Path) -> list[tuple[str, str]]:
    """Kind, "user" or "item", and id of all whose events are in the journal, sorted."""
    events = read_journal(folder)
    return [
        (kind, each)
        for kind in ("item", "user")
        for each in sorted(pc.unique(events[f"{kind}_id"]).to_pylist())
    ]
