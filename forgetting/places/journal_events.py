"""Events of a person in the journal, and rows that were posted of the person."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from forgetting.case import Case, Surroundings
from intake.event import EVENT_FORMAT
from intake.journal_erasure import JournalErasure, Lines
from intake.posted.posted_row import ROW_FORMAT
from intake.record_format import RecordFormat


def erase(case: Case) -> int:
    """Make lines blank, and write archives anew; how many records and files of torn ends."""
    workspace = case.workspace
    return _erase(case, workspace.events, EVENT_FORMAT) + _erase(case, workspace.posted, ROW_FORMAT)


def read(place: Surroundings, user_id: str) -> Iterator[tuple[str, pa.Table]]:
    """The events of a user, and the rows."""
    workspace = place.workspace
    yield "events", JournalErasure(workspace.events, EVENT_FORMAT).of_user(user_id)
    yield "posted", JournalErasure(workspace.posted, ROW_FORMAT).of_user(user_id)


def _erase(case: Case, folder: Path, of: RecordFormat[Any]) -> int:
    journal, n_erased = JournalErasure(folder, of), 0
    journal.complete()
    for user_id in case.people:
        is_theirs = partial(journal.is_of, user_id)
        lines = journal.find_lines(is_theirs, json.dumps(user_id, ensure_ascii=False).encode())
        _note_items(case, user_id, lines, of)
        n_erased += journal.erase_lines(lines)
        n_erased += journal.erase_archived(is_theirs)
        n_erased += journal.erase_cut(user_id)
    return n_erased


def _note_items(case: Case, user_id: str, lines: Lines, of: RecordFormat[Any]) -> None:
    """Keep with which items the person had events: Redis has them by item."""
    records = of.decode_all(line.body for some in lines.values() for line in some)
    keys = (key for record in records for key in of.keys_of(record))
    known = dict.fromkeys(case.evidence(user_id).items)
    items = known | dict.fromkeys(key for kind, key in keys if kind == "item")
    if len(items) > len(known):
        case.note(user_id, items=tuple(items))
