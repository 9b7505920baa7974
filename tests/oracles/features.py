"""The slow, obviously right features of one example: loops over the raw events before its time.

Nothing here shares code with the features under test, except the encoder and the text rendering,
which have oracles of their own.
"""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

Row = dict[str, Any]
Vector = NDArray[np.float64]


@dataclass
class RawData:
    """The raw files as lists of rows, and what the data set says of them."""

    items: list[Row]
    users: list[Row]
    events: list[Row]  # each with `positive`
    item_columns: list[str]
    user_columns: list[str]
    title: str
    categorical: list[str]
    explicit: bool
    history: int
    snapshot_every: int
    window_days: tuple[int, int]
    decay: float
    weights: tuple[float, float]  # of a positive, of another event
    item_vector: Callable[[Row], Vector]
    behaviour_vector: Callable[[list[str], list[str]], Vector | None]
    before: Callable[[datetime, datetime], bool] = lambda event, label: event < label

    def __post_init__(self) -> None:
        self.events.sort(key=lambda e: (e["event_timestamp"], e["item_id"], e.get("event_id", "")))
        self.of: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for event in self.events:
            for key in ("user_id", "item_id"):
                self.of[key, event[key]].append(event)

    def seen(self, key: str, value: str, label: datetime) -> list[Row]:
        """Events of a user or an item that a label may see, in replay order."""
        return [e for e in self.of[key, value] if self.before(e["event_timestamp"], label)]

    def version(self, item_id: str, at: datetime, *, else_first: bool) -> Row | None:
        """The item's newest version at a time, or its first one where it had none yet."""
        versions = sorted(
            (row for row in self.items if row["item_id"] == item_id),
            key=lambda row: row["event_timestamp"],
        )
        known = [row for row in versions if row["event_timestamp"] <= at]
        if known:
            return known[-1]
        return versions[0] if else_first else None


def expected_features(raw: RawData, user_id: str, item_id: str, label: datetime) -> Row:
    """Every feature of the example, by logical name; None where there is none."""
    of_user = raw.seen("user_id", user_id, label)
    of_item = raw.seen("item_id", item_id, label)
    features: Row = {}
    features |= _profile(raw, item_id, label)
    features |= _user_profile(raw, user_id, label)
    features |= {f"item_stats__item_{k}": v for k, v in _stats(raw, of_item).items()}
    features |= {f"user_stats__user_{k}": v for k, v in _stats(raw, of_user).items()}
    features["user_stats__user_value_std"] = _std(of_user)
    features |= {f"user_stats__{k}": v for k, v in _categories(raw, of_user).items()}
    features |= {f"user_recent__{k}": v for k, v in _recent(raw, of_user).items()}
    version = raw.version(item_id, label, else_first=False)
    features["item_embedding"] = None if version is None else raw.item_vector(version)
    features["user_embedding"] = _behaviour(raw, of_user)
    features["user_interest"] = _interest(raw, of_user)
    return features


def _profile(raw: RawData, item_id: str, label: datetime) -> Row:
    version = raw.version(item_id, label, else_first=False) or {}
    return {f"item_profile__{name}": version.get(name) for name in raw.item_columns}


def _user_profile(raw: RawData, user_id: str, label: datetime) -> Row:
    known = [
        row for row in raw.users if row["user_id"] == user_id and row["event_timestamp"] <= label
    ]
    version = max(known, key=lambda row: row["event_timestamp"], default={})
    return {f"user_profile__{name}": version.get(name) for name in raw.user_columns}


def _stats(raw: RawData, events: list[Row]) -> Row:
    names = ["n_events", "n_positive", "positive_rate", "value_mean", "n_events_short"]
    names += ["n_events_long", "first_event_s", "last_event_s"]
    if not events:
        return dict.fromkeys(names)
    times = [e["event_timestamp"] for e in events]
    n_positive = sum(e["positive"] for e in events)
    values = [e["value"] for e in events if e.get("value") is not None]
    short, long = (
        sum(times[-1] - timedelta(days=days) < time <= times[-1] for time in times)
        for days in raw.window_days
    )
    mean = statistics.fmean(values) if values else None
    rate = n_positive / len(events)
    first, last = (math.floor(time.timestamp()) for time in (times[0], times[-1]))
    numbers = [len(events), n_positive, rate, mean, short, long, first, last]
    return dict(zip(names, numbers, strict=True))


def _std(events: list[Row]) -> float | None:
    values = [e["value"] for e in events if e.get("value") is not None]
    return statistics.pstdev(values) if values else None


def _categories(raw: RawData, events: list[Row]) -> Row:
    if not events:
        return dict.fromkeys(["categories", "category_events", "category_positives"])
    counts: Counter[str] = Counter()
    positives: Counter[str] = Counter()
    for event in events:
        item = raw.version(event["item_id"], event["event_timestamp"], else_first=True)
        assert item is not None
        for column in raw.categorical:
            value = item[column]
            for category in [value] if isinstance(value, str) else (value or []):
                counts[category] += 1
                positives[category] += event["positive"]
    ordered = sorted(counts, key=lambda category: (-counts[category], category))[:20]
    return {
        "categories": ordered,
        "category_events": [counts[category] for category in ordered],
        "category_positives": [positives[category] for category in ordered],
    }


def _recent(raw: RawData, events: list[Row]) -> Row:
    if not events:
        return dict.fromkeys(["item_ids", "values", "positives", "ages_s"])
    newest = events[-1]["event_timestamp"]
    last = events[::-1][: raw.history]
    return {
        "item_ids": [e["item_id"] for e in last],
        "values": [math.nan if e.get("value") is None else e["value"] for e in last],
        "positives": [int(e["positive"]) for e in last],
        "ages_s": [int((newest - e["event_timestamp"]).total_seconds()) for e in last],
    }


def _behaviour(raw: RawData, events: list[Row]) -> Vector | None:
    """Of the last instant at which the number of events reached a multiple of n."""
    snapshot: list[Row] | None = None
    for at, event in enumerate(events):
        is_last_of_instant = (
            at + 1 == len(events) or events[at + 1]["event_timestamp"] != event["event_timestamp"]
        )
        if not is_last_of_instant:
            continue
        before = sum(e["event_timestamp"] < event["event_timestamp"] for e in events)
        if (at + 1) // raw.snapshot_every > before // raw.snapshot_every:
            snapshot = events[: at + 1]
    if snapshot is None:
        return None
    time = snapshot[-1]["event_timestamp"]
    liked: list[str] = []
    disliked: list[str] = []
    done: set[str] = set()
    for event in snapshot[::-1][: raw.history]:
        if event["item_id"] in done:
            continue
        done.add(event["item_id"])
        item = raw.version(event["item_id"], time, else_first=True)
        assert item is not None
        (liked if event["positive"] else disliked).append(item[raw.title])
    return raw.behaviour_vector(liked, disliked)


def _interest(raw: RawData, events: list[Row]) -> Vector | None:
    state: Vector | None = None
    for event in events:
        version = raw.version(event["item_id"], event["event_timestamp"], else_first=True)
        assert version is not None
        weight = raw.weights[0] if event["positive"] else raw.weights[1]
        moved = (1 - raw.decay) * weight * raw.item_vector(version)
        if state is not None:
            moved = raw.decay * state + moved
        state = moved / np.linalg.norm(moved)
    return state
