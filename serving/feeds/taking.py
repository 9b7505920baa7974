"""The rows of a feed into the journal, each event once; what is none is kept beside it."""

import json
import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from feast_fusion.backoff import backoff_s
from feast_fusion.errors import StoreUnavailableError
from feast_fusion.files import private_folder
from serving.feeds.feed import Batch, FedRow, Feed
from serving.live.event_intake import EventIntake
from serving.live.live_event import Outcome

_FIRST_RETRY_S, _LONGEST_RETRY_S = 0.5, 30.0


def take_in(
    feed: Feed, intake: EventIntake, rejects: Path, stop: threading.Event
) -> Iterator[Counter[str]]:
    """After each batch how many rows have become what: accepted, duplicate or rejected.

    Rows that are rejected go to the file `rejects`, a line of JSON each, with place and reason.
    While the journal cannot be written it is tried again. When `stop` is set a batch that is not
    in the journal yet is left to the next run.

    Raises as the feed does.
    """
    counts = Counter[str]()
    for batch in feed.batches(stop):
        if not _take(batch, intake, rejects, stop, counts):
            return
        yield counts


def _take(
    batch: Batch,
    intake: EventIntake,
    rejects: Path,
    stop: threading.Event,
    counts: Counter[str],
) -> bool:
    events = [row for row in batch.rows if row.defect is None]
    outcomes = _accepted(intake, [row.event for row in events], stop)
    if outcomes is None:
        return False
    refused = [(row, row.defect) for row in batch.rows if row.defect is not None]
    for row, outcome in zip(events, outcomes, strict=True):
        if outcome.status == "rejected":
            refused.append((row, outcome.reason or ""))
        else:
            counts[outcome.status] += 1
    forgotten = intake.forgotten
    kept = [each for each in refused if str(each[0].event.get("user_id")) not in forgotten]
    _keep(rejects, kept)
    counts["rejected"] += len(refused)
    batch.done()
    return True


def _accepted(
    intake: EventIntake, events: Sequence[Mapping[str, Any]], stop: threading.Event
) -> Sequence[Outcome] | None:
    """What became of the events, None where `stop` came before the journal took them."""
    attempt = 0
    while events:
        try:
            return intake.accept(events).outcomes
        except StoreUnavailableError:  # the journal tells the log
            wait_s = backoff_s(attempt, None, first_s=_FIRST_RETRY_S, longest_s=_LONGEST_RETRY_S)
        if stop.wait(wait_s):
            return None
        attempt += 1
    return []


def _keep(path: Path, refused: Sequence[tuple[FedRow, str]]) -> None:
    """Adds rows to the file of rejects; on disk when this returns."""
    if not refused:
        return
    at = datetime.now(UTC).isoformat(timespec="seconds")
    private_folder(path.parent)
    with path.open("a", encoding="utf-8") as file:
        for row, reason in refused:
            line = {"at": at, "place": row.place, "reason": reason, "row": row.event}
            file.write(json.dumps(line, ensure_ascii=True, default=str) + "\n")
        file.flush()
        os.fsync(file.fileno())
