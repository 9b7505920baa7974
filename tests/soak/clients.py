"""Clients of the services: they ask, they act, and they look whether the answers can be true."""

import http.client
import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from tests.soak.fleet import Service
from tests.soak.record import Record

_TEXTS = ("space", "a comedy about love", "war", "for children", "film noir", "宇宙", "")
# How far an event's time is from the clock, in seconds, and how often.
_SHIFTS = ((0.0, 0.8), (-600.0, 0.1), (-86_400.0 * 20, 0.06), (200.0, 0.03), (7_200.0, 0.01))
_N_KEPT = 50  # of the events of a client, to send again
_IDLE_S = 3.0  # after which the service may have closed a connection


@dataclass(frozen=True)
class Shop:
    """Who acts on what."""

    users: list[str]
    items: list[str]


class Client:
    """Does one thing after the other, at whichever service it meets."""

    def __init__(self, shop: Shop, services: list[Service], record: Record, seed: int) -> None:
        self._shop = shop
        self._services = services
        self._record = record
        self._rng = np.random.default_rng(seed)
        self._sent: list[tuple[Service, dict[str, Any]]] = []
        self._connections: dict[int, tuple[http.client.HTTPConnection, float]] = {}

    def act(self) -> None:
        """One request, its answer counted and looked at."""
        names = ("recommend", "events", "again", "rank", "similar")
        name = str(self._rng.choice(names, p=(0.5, 0.3, 0.05, 0.1, 0.05)))
        getattr(self, f"_{name}")()

    def _recommend(self) -> None:
        user = self._user()
        acted = self._record.acted_on(user)
        answer = self._ask("recommend", {"user_id": user, "n": 10})
        if answer is None or self._is_flagged(answer):
            return
        items = [each["item_id"] for each in answer["items"]]
        if len(set(items)) != 10:
            self._record.add_wrong(f"{user}: got items {items}, expected ten")
        if known := acted.intersection(items):
            self._record.add_wrong(f"{user}: unflagged answer with {known}, acted on before")

    def _rank(self) -> None:
        items = [self._item() for _ in range(50)]
        answer = self._ask("rank", {"user_id": self._user(), "item_ids": items})
        if answer is None or self._is_flagged(answer):
            return
        if {each["item_id"] for each in answer["items"]} != set(items):
            self._record.add_wrong(f"rank: other items than the {len(set(items))} asked")

    def _similar(self) -> None:
        text = str(self._rng.choice(_TEXTS)) or self._item()
        self._ask("similar", {"text": text, "n": 10})

    def _events(self) -> None:
        user, service = self._user(), self._service()
        events = [self._event(user) for _ in range(self._rng.integers(1, 6))]
        for event, is_new in zip(events, self._post(service, events), strict=False):
            if is_new:
                self._sent = [*self._sent, (service, event)][-_N_KEPT:]

    def _again(self) -> None:
        """To whom it was sent: of what others have taken, a service may learn later."""
        if self._sent:
            service, event = self._sent[int(self._rng.integers(len(self._sent)))]
            if any(self._post(service, [event])):
                self._record.add_wrong(f"{event['event_id']}: accepted twice")

    def _post(self, service: Service, events: list[dict[str, Any]]) -> list[bool]:
        """Whether each was accepted; nothing where there was no answer."""
        wait_ms = int(self._rng.choice((0, 2_000)))
        answer = self._ask("events", {"events": events, "wait_ms": wait_ms}, service)
        if answer is None:
            return []
        self._record.add_events(events, answer)
        return [one["status"] == "accepted" for one in answer["outcomes"]]

    def _is_flagged(self, answer: dict[str, Any]) -> bool:
        for reason in answer["reasons"]:
            self._record.count(f"answer lacks: {reason}")
        return bool(answer["degraded"])

    def _ask(
        self, route: str, body: dict[str, Any], service: Service | None = None
    ) -> dict[str, Any] | None:
        """The answer, None where there was none, or another than was hoped for."""
        port = (service or self._service()).port
        started = time.perf_counter()
        try:
            connection = self._connection(port)
            headers = {"Content-Type": "application/json"}
            connection.request("POST", f"/{route}", json.dumps(body), headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connections.pop(port)[0].close()
            self._record.count(f"{route}: {type(error).__name__}")
            return None
        self._record.count(f"{route}: {response.status}", time.perf_counter() - started)
        if response.status == 500:
            self._record.add_wrong(f"{route}: {content[:300]!r}")
        if response.status == 422 and route != "events":  # of events: all were rejected
            self._record.add_wrong(f"{route}: {content[:300]!r}")
        answer: dict[str, Any] = json.loads(content)
        return answer if response.status == 200 else None

    def _event(self, user: str) -> dict[str, Any]:
        shifts, shares = zip(*_SHIFTS, strict=True)
        shift = float(self._rng.choice(shifts, p=shares)) * self._rng.random()
        return {
            "event_id": uuid.uuid4().hex,
            "user_id": user,
            "item_id": self._item(),
            "event_timestamp": (datetime.now(UTC) + timedelta(seconds=shift)).isoformat(),
            "value": float(self._rng.integers(1, 6)),
        }

    def _connection(self, port: int) -> http.client.HTTPConnection:
        """A connection to a service. One that was idle for long is replaced: it may be closed."""
        connection, used = self._connections.get(port, (None, 0.0))
        now = time.monotonic()
        if connection is None or now - used > _IDLE_S:
            if connection is not None:
                connection.close()
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._connections[port] = connection, now
        return connection

    def _service(self) -> Service:
        return self._services[int(self._rng.integers(len(self._services)))]

    def _user(self) -> str:
        if self._rng.random() < 0.05:
            return f"new-{self._rng.integers(200)}"
        return str(self._rng.choice(self._shop.users))

    def _item(self) -> str:
        return str(self._rng.choice(self._shop.items))


@contextmanager
def acting(clients: list[Client], pause_s: float) -> Iterator[None]:
    """The clients at work, each with pauses of `pause_s` on average, until the block ends."""
    ended = threading.Event()

    def work(client: Client, seed: int) -> None:
        rng = np.random.default_rng(seed)
        while not ended.wait(rng.exponential(pause_s)):
            client.act()

    threads = [
        threading.Thread(target=work, args=each)
        for each in zip(clients, range(len(clients)), strict=True)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()
