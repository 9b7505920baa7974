"""The slow, obviously right activity tables: for every row, loops over the whole raw log.

Each rule that a vectorised version could get wrong by one is a field, so that a test can plant the
wrong one.
"""

import math
import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

Row = dict[str, Any]

JUST_AFTER = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _in_window(event: datetime, now: datetime, window: timedelta) -> bool:
    return now - window < event <= now


def _is_seen(event: datetime, now: datetime) -> bool:
    return event <= now


def _replay_key(event: Row) -> Any:
    event_id = event.get("event_id")
    # null ids come before others
    return event["event_timestamp"], event["item_id"], event_id is not None, event_id, event["row"]


def _passes(before: int, after: int, every: int) -> bool:
    return any(n % every == 0 for n in range(before + 1, after + 1))


@dataclass
class ActivityOracle:
    """Raw rows and the parameters of the data set; a method per table gives its rows in order."""

    items: list[Row]
    events: list[Row]
    title: str
    categorical: list[str]
    history: int
    snapshot_every: int
    window_days: tuple[int, int]
    categories: int
    in_window: Callable[[datetime, datetime, timedelta], bool] = _in_window
    is_seen: Callable[[datetime, datetime], bool] = _is_seen
    replay_key: Callable[[Row], Any] = _replay_key
    passes: Callable[[int, int, int], bool] = _passes

    def table(self, name: str) -> list[Row]:
        key = "item_id" if name == "item_stats" else "user_id"
        build = getattr(self, f"_{name}")
        rows = []
        for entity in sorted({e[key] for e in self.events}):
            own = sorted((e for e in self.events if e[key] == entity), key=self.replay_key)
            for now in sorted({e["event_timestamp"] for e in own}):
                seen = [e for e in own if self.is_seen(e["event_timestamp"], now)]
                found = build(seen, now)
                if found is not None:
                    rows.append({key: entity, "event_timestamp": now + JUST_AFTER, **found})
        return rows

    def version(self, item_id: str, at: datetime) -> Row:
        """Newest version known at a time; the first known one where none was."""

        def known_from(row: Row) -> datetime:
            return max(row["event_timestamp"], row.get("created", row["event_timestamp"]))

        def newness(row: Row) -> Any:
            return row["event_timestamp"], row.get("created", row["event_timestamp"])

        versions = [row for row in self.items if row["item_id"] == item_id]
        known = [row for row in versions if known_from(row) <= at]
        if known:
            return max(known, key=newness)
        first = min(known_from(row) for row in versions)
        return max((row for row in versions if known_from(row) == first), key=newness)

    def _item_stats(self, seen: list[Row], now: datetime, of: str = "item") -> Row:
        values = [e["value"] for e in seen if e["value"] is not None]
        n_positive = sum(e["positive"] for e in seen)
        short, long = (
            sum(self.in_window(e["event_timestamp"], now, timedelta(days=days)) for e in seen)
            for days in self.window_days
        )
        times = [(e["event_timestamp"] - EPOCH) // timedelta(seconds=1) for e in seen]
        found = {
            "n_events": len(seen),
            "n_positive": n_positive,
            "positive_rate": n_positive / len(seen) if seen else None,
            "value_mean": statistics.fmean(values) if values else None,
            "n_events_short": short,
            "n_events_long": long,
            "first_event_s": min(times, default=None),
            "last_event_s": max(times, default=None),
        }
        return {f"{of}_{name}": value for name, value in found.items()}

    def _user_stats(self, seen: list[Row], now: datetime) -> Row:
        values = [e["value"] for e in seen if e["value"] is not None]
        events: Counter[str] = Counter()
        positives: Counter[str] = Counter()
        for event in seen:
            for category in self._categories_of(event):
                events[category] += 1
                positives[category] += event["positive"]
        names = sorted(events, key=lambda name: (-events[name], name))[: self.categories]
        return {
            **self._item_stats(seen, now, "user"),
            "user_value_std": statistics.pstdev(values) if values else None,
            "categories": names,
            "category_events": [events[name] for name in names],
            "category_positives": [positives[name] for name in names],
        }

    def _categories_of(self, event: Row) -> set[str]:
        item = self.version(event["item_id"], event["event_timestamp"])
        found = set()
        for column in self.categorical:
            value = item[column]
            for name in [value] if isinstance(value, str) else (value or []):
                if name is not None:
                    found.add(name if len(self.categorical) == 1 else f"{column}={name}")
        return found

    def _user_recent(self, seen: list[Row], now: datetime) -> Row:
        last = seen[::-1][: self.history]
        age = [(now - e["event_timestamp"]) // timedelta(seconds=1) for e in last]
        return {
            "item_ids": [e["item_id"] for e in last],
            "values": [math.nan if e["value"] is None else e["value"] for e in last],
            "positives": [int(e["positive"]) for e in last],
            "ages_s": age,
        }

    def _user_events(self, seen: list[Row], now: datetime) -> Row:
        own = [e for e in seen if e["event_timestamp"] == now]
        return {
            "item_ids": [e["item_id"] for e in own],
            "positives": [int(e["positive"]) for e in own],
            "types": [e.get("event_type") for e in own],
        }

    def _user_snapshots(self, seen: list[Row], now: datetime) -> Row | None:
        before = sum(e["event_timestamp"] < now for e in seen)
        if not self.passes(before, len(seen), self.snapshot_every):
            return None
        sides: dict[bool, list[str]] = {True: [], False: []}
        done = set()
        for event in seen[::-1][: self.history]:
            title = self.version(event["item_id"], now)[self.title]
            if event["item_id"] not in done and title is not None:
                sides[event["positive"]].append(title)
            done.add(event["item_id"])
        return {"liked": sides[True], "disliked": sides[False]}
