"""Queries by how much is known: of the chosen item, and of the user."""

from collections.abc import Iterator

import numpy as np

from evaluation.protocol import Queries
from transformations.collaborative.histories import Flags, Ints

# A slice holds counts from its first bound up to, not including, the next one's.
_ITEM_BOUNDS = (0, 1, 10, 50, 100, 200)
_USER_BOUNDS = (0, 1, 5, 20, 50, 100)


def slices(queries: Queries) -> Iterator[tuple[str, str, Flags]]:
    """What the slice is by, its counts in words, and (q,) which queries are in it; none is empty.

    Counts of an item are its positive events in the fitted rows; counts of a user are the events
    strictly before the instant.
    """
    events = queries.fitted
    liked = events.item[events.positive]
    popularity = np.bincount(liked, minlength=len(events.items))[queries.target]
    yield from _parts("positive events of the item", popularity, _ITEM_BOUNDS)
    yield from _parts("events of the user", queries.histories().lengths, _USER_BOUNDS)


def _parts(by: str, counts: Ints, bounds: tuple[int, ...]) -> Iterator[tuple[str, str, Flags]]:
    for low, high in zip(bounds, (*bounds[1:], None), strict=True):
        inside = counts >= low if high is None else (counts >= low) & (counts < high)
        if inside.any():
            yield by, _label(low, high), inside


def _label(low: int, high: int | None) -> str:
    """Bounds in words.

    >>> _label(0, 1), _label(1, 10), _label(200, None)
    ('0', '1-9', '200 or more')
    """
    if high is None:
        return f"{low} or more"
    return str(low) if high == low + 1 else f"{low}-{high - 1}"
