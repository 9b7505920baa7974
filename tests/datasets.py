"""Small data sets that tests make for themselves, each with its own dataset.toml."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

START = datetime(2024, 1, 1, tzinfo=UTC)
TIMESTAMP = pl.Datetime("us", "UTC")

_GENRES = ["Drama", "Comedy", "Science fiction", "Western", "Horror"]
_GOODS = [
    ("红富士苹果", "水果"),
    ("绿茶 Green Tea", "饮料"),
    ("Espresso beans", "coffee"),
    ("無線鍵盤", "electronics"),
    ("USB-C cable", "electronics"),
    ("羊毛围巾", "clothes"),
]

SHOP_TOML = """
name = "shop"
[items]
path = "items.parquet"
title = "name"
text = "{name}。 Category: {category}. {description}."
categorical = ["category"]
[interactions]
path = "purchases.parquet"
[activity]
history = 20
snapshot_every = 10
[encoder]
model = "sentence-transformers/all-MiniLM-L6-v2"
max_tokens = 64
"""

# A fit of the candidates' model in no time, for tests in which its quality plays no part.
BRIEF_CANDIDATES = """
[candidates]
phases = 1
[candidates.sequence]
epochs = 1
more_epochs = 1
[candidates.chooser]
epochs = 1
"""

FILMS_TOML = """
name = "films"
[items]
path = "items.parquet"
title = "title"
text = "{title} ({year}). Genres: {genres}."
numeric = ["year"]
categorical = ["genres"]
[users]
path = "users.parquet"
numeric = ["age"]
categorical = ["gender"]
[interactions]
path = "ratings.parquet"
explicit = true
positive = "value >= 4"
[activity]
history = 10
snapshot_every = 8
[encoder]
model = "sentence-transformers/all-MiniLM-L6-v2"
max_tokens = 64
"""


def make_shop(folder: Path, *, n_users: int = 40, n_items: int = 60, n_events: int = 1500) -> Path:
    """Implicit purchases with repeats, no users table, Chinese and English; its dataset.toml."""
    rng = np.random.default_rng(7)
    goods = [_GOODS[i % len(_GOODS)] for i in range(n_items)]
    items = {
        "item_id": [f"货-{i}" for i in range(n_items)],
        "event_timestamp": [START - timedelta(days=1)] * n_items,
        "name": [f"{name} {i}" for i, (name, _) in enumerate(goods)],
        "category": [category for _, category in goods],
        "description": [None if i % 4 == 0 else f"第 {i} 号, size {i % 5}" for i in range(n_items)],
    }
    taste = rng.integers(0, len(_GOODS), n_users)
    users = rng.integers(0, n_users, n_events)
    liked = rng.random(n_events) < 0.8
    random_item = rng.integers(0, n_items, n_events)
    own_item = taste[users] + len(_GOODS) * rng.integers(0, n_items // len(_GOODS), n_events)
    bought = np.where(liked, own_item, random_item)
    minutes = np.sort(rng.integers(0, 60 * 24 * 60, n_events))
    purchases = {
        "user_id": [f"客户{u}" for u in users],
        "item_id": [f"货-{i}" for i in bought],
        "event_timestamp": [START + timedelta(minutes=int(m)) for m in minutes],
        "event_id": [f"p{i}" for i in range(n_events)],
    }
    return _write(folder, SHOP_TOML, items=items, purchases=purchases)


def make_films(folder: Path, *, n_users: int = 60, n_items: int = 80, n_events: int = 3000) -> Path:
    """Explicit ratings with a users table and many events at one instant; its dataset.toml."""
    rng = np.random.default_rng(11)
    genres = [sorted({_GENRES[i % 5], _GENRES[(i // 5) % 5]}) for i in range(n_items)]
    items = {
        "item_id": [f"f{i}" for i in range(n_items)],
        "event_timestamp": [START - timedelta(days=400)] * n_items,
        "title": [f"Film number {i}" for i in range(n_items)],
        "year": [None if i % 9 == 0 else 1950 + i for i in range(n_items)],
        "genres": genres,
    }
    users = {
        "user_id": [f"u{i}" for i in range(n_users - 5)],
        "event_timestamp": [START] * (n_users - 5),
        "age": [20 + i % 50 for i in range(n_users - 5)],
        "gender": ["FM"[i % 2] for i in range(n_users - 5)],
    }
    who = rng.integers(0, n_users, n_events)
    what = rng.integers(0, n_items, n_events)
    fits = np.array([_GENRES[u % 5] in genres[i] for u, i in zip(who, what, strict=True)])
    value = np.clip(np.where(fits, 4, 2) + rng.integers(-1, 2, n_events), 1, 5)
    # an hour of 60 has few instants, so that events collide
    hours = np.sort(rng.integers(0, 24 * 40, n_events))
    ratings = {
        "user_id": [f"u{u}" for u in who],
        "item_id": [f"f{i}" for i in what],
        "event_timestamp": [START + timedelta(hours=int(h)) for h in hours],
        "value": value.astype(np.float64).tolist(),
        "event_id": [f"r{i}" for i in range(n_events)],
    }
    return _write(folder, FILMS_TOML, items=items, users=users, ratings=ratings)


def _write(folder: Path, toml: str, **tables: dict[str, list[object]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, columns in tables.items():
        frame = pl.DataFrame(columns, strict=False)
        frame.with_columns(pl.col("event_timestamp").cast(TIMESTAMP)).write_parquet(
            folder / f"{name}.parquet"
        )
    path = folder / "dataset.toml"
    path.write_text(toml, encoding="utf-8")
    return path
