"""Small logs of events for tests of the protocols."""

import numpy as np
import pyarrow as pa

from transformations.collaborative.histories import Events
from transformations.id_map import IdMap


def make_events(
    rows: list[tuple[int, int, int, bool]],
    n_users: int,
    n_items: int,
    known: list[int] | None = None,
) -> Events:
    """Events of (time, user, item, liked); ids sort as their codes do."""
    table = np.array(sorted(rows), dtype=np.int64).reshape(-1, 4)
    return Events(
        users=IdMap(pa.array([f"u{n:03}" for n in range(n_users)])),
        items=IdMap(pa.array([f"i{n:03}" for n in range(n_items)])),
        user=table[:, 1],
        item=table[:, 2],
        time=table[:, 0],
        positive=table[:, 3] > 0,
        value=np.full(len(table), np.nan, np.float32),
        weight=np.ones(len(table), np.float32),
        known_from=np.array(known or [0] * n_items, dtype=np.int64),
    )


def random_events(
    seed: int = 0, *, n_users: int = 12, n_items: int = 20, n_events: int = 400
) -> Events:
    """Events with repeats, several at one instant, and items that become known late."""
    rng = np.random.default_rng(seed)
    rows = zip(
        np.sort(rng.integers(0, n_events // 2, n_events)).tolist(),
        rng.integers(0, n_users, n_events).tolist(),
        rng.integers(0, n_items, n_events).tolist(),
        (rng.random(n_events) < 0.6).tolist(),
        strict=True,
    )
    known = rng.integers(0, n_events // 2, n_items).tolist()
    known[: n_items // 10] = [n_events] * (n_items // 10)  # these never
    return make_events(list(rows), n_users, n_items, known)


def two_tastes(*, n_users: int = 150, n_items: int = 24, n_events: int = 8) -> Events:
    """Each user likes even or odd items only; users act at the same time, in turns."""
    rng = np.random.default_rng(3)
    orders = [rng.permutation(np.arange(user % 2, n_items, 2)) for user in range(n_users)]
    rows = [
        (1_000_000 * (step * n_users + user), user, int(orders[user][step]), True)
        for step in range(n_events)
        for user in range(n_users)
    ]
    return make_events(rows, n_users, n_items)
