"""Training sets whose answer is known: each user likes one of two groups of items, at once.

The group of an item is told by its vector, by its category and by who liked it; counts tell
nothing. `state after all events of earlier instants` is kept by a plain loop.
"""

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feast_fusion.times import TIMESTAMP
from feast_fusion.training_set import Indexed, TrainingSet
from intake.dataset import Dataset, Interactions
from intake.versioned_tables import Items, Users
from intake.workspace import Workspace
from training.ranker.collaborative import Collaborations
from transformations.collaborative.item_factors import build_item_factors
from transformations.collaborative.neighbour_fit import build_item_neighbours
from transformations.collaborative.prepared_log import build_events

WIDTH = 6
N_ITEMS = 30


def make_dataset(
    *, explicit: bool = True, users: bool = True, categorical: tuple[str, ...] = ("genres",)
) -> Dataset:
    here = Path("/data")
    return Dataset(
        name="synthetic",
        items=Items(
            path=here / "items.parquet",
            title="title",
            text="{title}.",
            numeric=("year",),
            categorical=categorical,
        ),
        users=Users(path=here / "users.parquet", categorical=("gender",)) if users else None,
        interactions=Interactions(
            path=here / "interactions.parquet",
            explicit=explicit,
            positive="value >= 4" if explicit else None,
        ),
        path=here / "dataset.toml",
    )


@dataclass
class _User:
    items: list[str] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    times: list[int] = field(default_factory=list)

    def positives(self) -> list[int]:
        return [int(value >= 4) for value in self.values]


def item_vectors() -> np.ndarray:
    """(N_ITEMS, WIDTH): even items point one way and odd items the other, with noise."""
    noise = np.random.default_rng(5).normal(size=(N_ITEMS, WIDTH)) * 0.3
    noise[:, 0] += np.where(np.arange(N_ITEMS) % 2 == 0, 1.0, -1.0)
    vectors: np.ndarray = noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return vectors.astype(np.float32)


def make_training_set(
    n_users: int = 60, n_events: int = 24, *, noise: float = 0.05, seed: int = 0
) -> TrainingSet:
    """n_users * n_events rows by time; users come one after the other, so late ones are new."""
    rng = np.random.default_rng(seed)
    columns: dict[str, list[object]] = {name: [] for name in _SCALARS}
    lists: dict[str, list[object]] = {name: [] for name in _LISTS}
    at_list, at_item, given = [], [], []
    counts = np.zeros((N_ITEMS, 2), dtype=int)
    for u in range(n_users):
        user, taste = _User(), rng.integers(2)
        for item in rng.permutation(N_ITEMS)[:n_events].tolist():
            now = u * 100_000 + 60 * (len(user.items) + 1)
            liked = (item % 2 == taste) != (rng.random() < noise)
            value = float(rng.choice([4, 5]) if liked else rng.choice([1, 2, 3]))
            row = _row(u, item, now, int(value >= 4), user, counts[item])
            for name, cell in row.items():
                columns[name].append(cell)
            at_item.append(item)
            given.append(value)
            at_list.append(len(lists["user_recent__item_ids"]) if user.items else -1)
            if user.items:
                for name, cells in _lists(user).items():
                    lists[name].append(cells)
            user.items.append(f"i{item}")
            user.values.append(value)
            user.times.append(now)
            counts[item] += (1, int(value >= 4))
    table = pa.table({name: pa.array(columns[name], kind) for name, kind in _SCALARS.items()})
    index, items = np.array(at_list, np.int32), np.array(at_item, np.int32)
    genres = pa.array([["even"] if item % 2 == 0 else ["odd"] for item in range(N_ITEMS)])
    rows = TrainingSet(
        table,
        {"item_embedding": Indexed(item_vectors(), items)},
        {
            **{name: Indexed(pa.array(lists[name], _LISTS[name]), index) for name in _LISTS},
            "item_profile__genres": Indexed(genres, items),
        },
    )
    return with_collaborative(rows, pa.array(given, pa.float32()))


def with_collaborative(rows: TrainingSet, values: pa.Array) -> TrainingSet:
    """The rows, which are all events, with what versions of the log say of each."""
    log = rows.table.select(["user_id", "item_id", "event_timestamp"])
    positive = rows.table["label"].cast(pa.bool_())
    log = log.append_column("positive", positive).append_column("value", values)
    ids = [f"i{item}" for item in range(N_ITEMS)]
    known = pa.table({"item_id": ids, "event_timestamp": pa.nulls(N_ITEMS, TIMESTAMP).fill_null(0)})
    events = build_events(known, log)
    with TemporaryDirectory() as home:
        workspace = Workspace(make_dataset(), Path(home))
        workspace.sources.mkdir(parents=True)
        for table in (build_item_neighbours(events, 200, 50), build_item_factors(events, 200)):
            pq.write_table(pa.concat_tables(table.chunks), workspace.source(table.name))
        return Collaborations(workspace, rows.table["item_id"]).add_to(rows)


_SCALARS = {
    "user_id": pa.string(),
    "item_id": pa.string(),
    "event_timestamp": TIMESTAMP,
    "label": pa.int64(),
    "item_profile__title": pa.string(),
    "item_profile__year": pa.int64(),
    "user_profile__gender": pa.string(),
    "item_stats__item_n_events": pa.int64(),
    "item_stats__item_n_positive": pa.int64(),
    "user_stats__user_n_events": pa.int64(),
    "user_stats__user_n_positive": pa.int64(),
    "user_stats__user_last_event_s": pa.int64(),
}
_LISTS = {
    "user_recent__item_ids": pa.list_(pa.string()),
    "user_recent__values": pa.list_(pa.float32()),
    "user_recent__positives": pa.list_(pa.int64()),
    "user_recent__ages_s": pa.list_(pa.int64()),
    "user_stats__categories": pa.list_(pa.string()),
    "user_stats__category_events": pa.list_(pa.int64()),
    "user_stats__category_positives": pa.list_(pa.int64()),
}


def _row(u: int, item: int, now: int, label: int, user: _User, counts: np.ndarray) -> dict:
    return {
        "user_id": f"u{u:03}",
        "item_id": f"i{item}",
        "event_timestamp": now * 1_000_000,
        "label": label,
        "item_profile__title": f"Item {item}",
        "item_profile__year": 1990 + item if item % 3 else None,
        "user_profile__gender": "fm"[u % 2],
        "item_stats__item_n_events": int(counts[0]) or None,
        "item_stats__item_n_positive": int(counts[1]) if counts[0] else None,
        "user_stats__user_n_events": len(user.items) or None,
        "user_stats__user_n_positive": sum(user.positives()) if user.items else None,
        "user_stats__user_last_event_s": user.times[-1] if user.times else None,
    }


def _lists(user: _User) -> dict[str, list]:
    newest = slice(None, None, -1)
    groups = ["even" if int(item[1:]) % 2 == 0 else "odd" for item in user.items]
    names = sorted(set(groups), key=lambda name: (-groups.count(name), name))
    liked = list(zip(groups, user.positives(), strict=True))
    return {
        "user_recent__item_ids": user.items[newest],
        "user_recent__values": user.values[newest],
        "user_recent__positives": user.positives()[newest],
        "user_recent__ages_s": [user.times[-1] - time for time in user.times[newest]],
        "user_stats__categories": names,
        "user_stats__category_events": [groups.count(name) for name in names],
        "user_stats__category_positives": [liked.count((name, 1)) for name in names],
    }


def without(rows: TrainingSet, *prefixes: str) -> TrainingSet:
    """The rows without the features whose names start so."""
    kept = [name for name in rows.table.column_names if not name.startswith(prefixes)]
    return TrainingSet(
        rows.table.select(kept),
        {name: value for name, value in rows.vectors.items() if not name.startswith(prefixes)},
        {name: value for name, value in rows.lists.items() if not name.startswith(prefixes)},
    )


def with_column(rows: TrainingSet, name: str, values: pa.Array) -> TrainingSet:
    """The rows with one scalar column replaced."""
    at = rows.table.column_names.index(name)
    return TrainingSet(rows.table.set_column(at, name, values), rows.vectors, rows.lists)
