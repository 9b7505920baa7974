"""A person is forgotten while a service answers: late events are refused, others notice nothing."""

import threading
from collections import Counter
from functools import partial
from pathlib import Path

from intake.journal_content import read_events
from intake.tombstones import Tombstones
from serving.live.live_event import Outcome
from serving.live.prepared_history import PreparedHistory
from tests.conftest import Project
from tests.forgetting.known_person import event_of
from tests.serving.http.service_process import Service, copy_project, service_process
from tests.waiting import wait_until

_COMMAND_S = 900.0  # a whole command beside the load, on a busy machine
PERSON, OTHERS = "visitor-8c41f2", ["u1", "u2", "u3"]


class Load:
    """Events of the person and of others, and what others are recommended, all the time."""

    def __init__(self, service: Service) -> None:
        self._service, self._stop = service, threading.Event()
        self.answers: Counter[int] = Counter()
        self.outcomes: Counter[tuple[str, str | None]] = Counter()
        work = (self._post, self._ask)
        self._threads = [threading.Thread(target=each) for each in work]
        for thread in self._threads:
            thread.start()

    def _post(self) -> None:
        number = 0
        while not self._stop.wait(0.05):
            number += 1
            users = (PERSON, OTHERS[number % 3])
            events = [posted(user, number) for user in users]
            answer = self._service.post("/events", {"events": events})
            self.answers[answer.status] += 1
            for user, outcome in zip(users, answer.json()["outcomes"], strict=True):
                self.outcomes[user, outcome["reason"]] += 1

    def _ask(self) -> None:
        number = 0
        while not self._stop.wait(0.05):
            number += 1
            body = {"user_id": OTHERS[number % 3], "n": 5}
            self.answers[self._service.post("/recommend", body).status] += 1

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def posted(user: str, number: int) -> dict[str, object]:
    event = event_of(user, number)
    time = "2024-03-01T00:00:00+00:00"
    fields = {"user_id": user, "item_id": event.item_id, "event_timestamp": time, "value": 4.0}
    return {"event_id": f"{user}-{number}", **fields}


def is_forgotten(service: Service) -> bool:
    return service.ask("DELETE", f"/users/{PERSON}", None, {}).status == 200


def test_a_person_goes_while_events_arrive(films: Project, tmp_path: Path) -> None:
    project = copy_project(films, tmp_path / "home")
    workspace = project.workspace
    with service_process(project, tmp_path / "log", "--log-served", "1") as running:
        service = running.service
        load = Load(service)
        try:
            wait_until(lambda: load.outcomes[PERSON, None] > 20)
            told = service.ask("DELETE", f"/users/{PERSON}", None, {})
            assert (told.status, told.json()["status"]) == (202, "accepted")
            wait_until(partial(is_forgotten, service), "forgotten", _COMMAND_S)
            wait_until(lambda: load.outcomes[PERSON, "forgotten user"] > 5)
        finally:
            load.close()
        receipt = service.ask("DELETE", f"/users/{PERSON}", None, {}).json()["receipt"]
        assert receipt["erased_of_this_run"]["journal"] > 20
        assert receipt["audit"]["found"] == 0
        refused = service.post("/events", {"events": [posted(PERSON, 0)]})
        assert refused.status == 422 and "forgotten user" in refused.detail
        assert service.post("/recommend", {"user_id": PERSON, "n": 3}).status == 200
        wait_until(lambda: service.get("/health/ready").status == 200)
    assert set(load.answers) == {200}
    assert all(load.outcomes[user, None] for user in OTHERS)
    assert not [key for key in load.outcomes if key[0] in OTHERS and key[1] is not None]
    left = Counter(event.user_id for event in read_events(workspace.events))
    assert left == {user: load.outcomes[user, None] for user in OTHERS}
    log = (tmp_path / "log").read_text()
    assert PERSON not in log and "damage" not in log
    assert_refused_after_a_restart(project)


def assert_refused_after_a_restart(project: Project) -> None:
    assert PERSON in Tombstones(project.workspace.forgotten)
    history = PreparedHistory(project.workspace)
    late, other = event_of(PERSON, 1), event_of("u1", 1)
    refused, kept = history.screen([late, other])
    assert refused == Outcome("rejected", late.event_id, "forgotten user")
    assert not isinstance(kept, Outcome)
