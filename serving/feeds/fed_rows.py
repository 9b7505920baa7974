"""A file of events in the form of the data set's interactions, row by row."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

from intake.column_roles import role_of
from intake.dataset import Dataset
from intake.screening import JOURNAL, Screening
from intake.tables.reading import read_table
from intake.tables.source_table import RAGGED, SourceTable
from serving.feeds.feed import FedRow
from serving.live.event_screening import FIELDS

_DIGEST_BYTES = 12

Event = Mapping[str, Any]


def read_file_rows(dataset: Dataset, path: Path, name: str, now: datetime) -> list[FedRow]:
    """The rows of a file of any form that `[interactions]` can be read from.

    A row without an event_id gets one of what it says, and of how many equal rows are before it:
    a row that is read again, or has moved in its file, is the same event.

    Parameters
    ----------
    name : of the file in its feed, for places and event ids

    Raises
    ------
    SchemaError
        The file is damaged, or not of the form of the interactions.
    """
    source = _read(dataset, path)
    n_equal = Counter[str]()
    found = []
    for row, (event, defect) in enumerate(_events(dataset, source, now)):
        digest = _digest(event)
        event_id = f"{name}:{digest}:{n_equal[digest]}"
        n_equal[digest] += 1
        found.append(FedRow(f"{name}, row {row}", _named(event, event_id), defect))
    lines = source.unread.select(["unread_line", "unread_text"]).to_pylist()
    return found + [
        FedRow(f"{name}, line {line['unread_line']}", {"line": line["unread_text"]}, RAGGED)
        for line in lines
    ]


def read_message_rows(
    dataset: Dataset, path: Path, places: Sequence[str], now: datetime
) -> list[FedRow]:
    """The rows of a file of JSON lines, each of which stands at a place of its own for good.

    The place is the event_id of a row without one. Raises as `read_file_rows`.
    """
    table = _read(dataset, path).table
    # A file whose times are of another unit is refused whole; of a journal only the rows are.
    source = SourceTable("messages", "messages", JOURNAL, table, dataset.interactions.time)
    events = _events(dataset, source, now)
    return [
        FedRow(place, _named(event, place), defect)
        for place, (event, defect) in zip(places, events, strict=True)
    ]


def _read(dataset: Dataset, path: Path) -> SourceTable:
    section = dataset.interactions
    here = section.model_copy(update={"path": path, "query": None, "database": None})
    return read_table(here, "interactions", path.parent, role_of(section))


def _events(
    dataset: Dataset, source: SourceTable, now: datetime
) -> Iterator[tuple[Event, str | None]]:
    """Each row as a client posts an event, and why it can be none."""
    screened = Screening(source, ("user_id", "item_id", "event_timestamp"))
    screened.add_time("event_timestamp", now)
    table, times = screened.table, screened.columns["event_timestamp"].to_pylist()
    context = [name for name in dataset.interactions.context.given if name in table.column_names]
    known = [name for name in FIELDS if name in table.column_names and name != "context"]
    rows = table.select([*known, *context]).to_pylist()
    for row, time, defect in zip(rows, times, screened.reasons().to_pylist(), strict=True):
        event: dict[str, Any] = {name: _known(row[name]) for name in known}
        if around := {name: row[name] for name in context if _known(row[name]) is not None}:
            event["context"] = around
        if not defect:
            event["event_timestamp"] = time
        yield event, defect or None


def _known(value: object) -> object:
    """None for NaN too, which is how some files say that nothing is known."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _digest(event: Event) -> str:
    said = json.dumps(event, sort_keys=True, default=str).encode()
    return blake2b(said, digest_size=_DIGEST_BYTES).hexdigest()


def _named(event: Event, event_id: str) -> Event:
    return event if event.get("event_id") is not None else {**event, "event_id": event_id}
