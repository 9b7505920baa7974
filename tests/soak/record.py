"""What the clients of a soak were told, and what of it cannot be true."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np

_SHOWN = 20


class Record:
    """Safe for any number of threads.

    Attributes
    ----------
    counts : of requests by route and answer, of events by outcome, of answers by what they lacked
    acknowledged : user and item of each acknowledged event, by its id
    wrong : what must not happen
    """

    def __init__(self, acted: dict[str, set[str]]) -> None:
        self._lock = threading.Lock()
        self._acted = acted
        self._seconds: dict[str, list[float]] = defaultdict(list)
        self.counts: Counter[str] = Counter()
        self.acknowledged: dict[str, tuple[str, str]] = {}
        self.wrong: list[str] = []

    def count(self, what: str, seconds: float | None = None) -> None:
        with self._lock:
            self.counts[what] += 1
            if seconds is not None:
                self._seconds[what.split(":")[0]].append(seconds)

    def add_wrong(self, what: str) -> None:
        with self._lock:
            self.wrong.append(f"{time.strftime('%H:%M:%S')} {what}")

    def acted_on(self, user_id: str) -> set[str]:
        """Items that the user has acted on, as recommendations follow by now."""
        with self._lock:
            return set(self._acted.get(user_id, ()))

    def add_events(self, events: list[dict[str, Any]], answer: dict[str, Any]) -> None:
        """What came back for posted events."""
        with self._lock:
            for event, outcome in zip(events, answer["outcomes"], strict=True):
                self.counts[f"event {outcome['status']}"] += 1
                if outcome["status"] == "accepted":
                    self.acknowledged[event["event_id"]] = (event["user_id"], event["item_id"])
                    self.counts["event applied"] += answer["applied"]
                if answer["applied"] and outcome["status"] != "rejected":
                    self._acted.setdefault(event["user_id"], set()).add(event["item_id"])

    def lines(self, faults: Iterable[str]) -> list[str]:
        """The counts, the times of answers, and what was wrong, as text."""
        said = [f"{name:<58}{count:>9,}" for name, count in sorted(self.counts.items())]
        for route, seconds in sorted(self._seconds.items()):
            p50, p99, p999 = np.percentile(seconds, (50, 99, 99.9)) * 1e3
            said.append(f"{route}: p50 {p50:,.0f} ms, p99 {p99:,.0f} ms, p99.9 {p999:,.0f} ms")
        said += [*faults, f"{len(self.wrong)} wrong", *self.wrong[:_SHOWN]]
        return said
