"""Small random logs of events, with ties in time, repeats and items that nobody met."""

import numpy as np

from transformations.collaborative.histories import Events
from transformations.id_map import IdMap

DAY_US = 86_400_000_000


def random_log(n: int = 120, users: int = 6, items: int = 12, seed: int = 0) -> Events:
    """n events within some days, a few of one instant; the last item is in none."""
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, users, n), rng.integers(0, items - 1, n)
    time = rng.integers(0, n // 2, n) * (DAY_US // 24)
    order = np.lexsort((item, user, time))
    return Events(
        users=IdMap.of([f"u{k:02d}" for k in range(users)]),
        items=IdMap.of([f"i{k:02d}" for k in range(items)]),
        user=user[order],
        item=item[order],
        time=time[order],
        positive=rng.random(n) < 0.7,
        value=rng.normal(3.0, 1.0, n).astype(np.float32),
        weight=np.ones(n, np.float32),
        known_from=np.zeros(items, np.int64),
    )
