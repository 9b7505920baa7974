"""After a soak: nothing acknowledged is lost, and what is online is what a replay gives."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from cli.feast_repository import open_store
from intake.given_values import CLOCK_SKEW
from intake.journal_content import read_journal
from intake.workspace import Workspace
from tests.serving.live.live_repo import differences, offline_rows, online_rows
from tests.soak.fleet import Service
from tests.soak.record import Record

_N_ASKED = 200
_N_ALIKE = 9  # of ten: ages go on between two answers, and what is nearly equal changes places


def judge_answers(services: list[Service], record: Record, users: list[str]) -> None:
    """All services give nearly the same items, none that the user has acted on."""
    for user in users[:_N_ASKED]:
        answers = [service.post("/recommend", {"user_id": user, "n": 10}) for service in services]
        items = [[each["item_id"] for each in answer["items"]] for answer in answers]  # type: ignore[index]
        if any(answer["degraded"] for answer in answers):  # type: ignore[index]
            record.add_wrong(f"{user}: still flagged: {answers[0]['reasons']}")  # type: ignore[index]
        elif any(len({*each} & {*items[0]}) < _N_ALIKE for each in items):
            record.add_wrong(f"{user}: got {items[0]} from one service, {items[1]} from another")
        elif known := record.acted_on(user).intersection(items[0]):
            record.add_wrong(f"{user}: recommended {known}, acted on before")


def judge_journal(workspace: Workspace, record: Record) -> None:
    """Each acknowledged event is there, once."""
    found = Counter(read_journal(workspace.events)["event_id"].to_pylist())
    lost = record.acknowledged.keys() - found.keys()
    twice = [event_id for event_id, count in found.items() if count > 1]
    record.counts["events in the journal"] = len(found)
    record.counts["acknowledged events not in the journal"] = len(lost)
    if lost or twice:
        record.add_wrong(f"journal: {len(lost)} acknowledged events lost, {len(twice)} there twice")


def judge_rows(workspace: Workspace, redis: str, record: Record, folder: Path) -> None:
    """The online rows of everybody who took part are those of a replay of file and journal."""
    # an event may have come from a clock that is ahead
    expected = offline_rows(workspace, folder, datetime.now(UTC) + CLOCK_SKEW)
    found = online_rows(workspace, open_store(workspace, redis), expected)
    keys = {key for pair in record.acknowledged.values() for key in pair}
    wrong = differences(found, expected, keys=keys)
    record.counts["users and items compared with a replay"] = len(keys)
    record.counts["online values that differ from the replay"] = len(wrong)
    for each in wrong:
        record.add_wrong(each)
