"""The moving interest of a user: `v <- normalise(a*v + (1-a)*w*e)` over the vectors of items.

The same `step` runs when history is replayed in a batch and when one event is pushed, so an offline
replay of a log equals the online state. The state is kept L2-normalised: it is a feature like any
other vector, and the next step starts from exactly what the store holds.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
InterestRule = Callable[[bool, str | None], tuple[float, float]]
"""From whether an event is positive and its event_type to `w` and `a`."""

# A sum this short has no direction: two opposite events cancelled. The old state is kept.
_NO_DIRECTION = 1e-6


def step(state: Vector | None, item: Vector, weight: float, decay: float) -> Vector:
    """The state after one event.

    Parameters
    ----------
    state : (d,) float32, the L2-normalised state before the event; None for a user without one
    item : (d,) float32, the L2-normalised vector of the event's item
    weight : `w`, negative for a disliked item
    decay : `a` in [0, 1): what remains of the old state
    """
    extracted = (1.0 - decay) * weight * item
    moved = extracted if state is None else decay * state + extracted
    norm = float(np.sqrt(moved @ moved))
    if norm < _NO_DIRECTION:
        return state if state is not None else np.asarray(item, dtype=np.float32)
    return (moved / norm).astype(np.float32)


def replay(
    items: NDArray[np.float32],
    has_item: NDArray[np.bool_],
    weights: NDArray[np.float64],
    instants: Sequence[int],
    decays: NDArray[np.float64],
) -> list[Vector | None]:
    """The state after each instant of one user's history.

    Parameters
    ----------
    items : (n, d) float32, item vectors of the user's events, oldest first
    has_item : (n,) False where the item has no vector; such an event leaves the state as it was
    weights, decays : (n,) `w` and `a` of each event, as in `step`
    instants : k numbers of events up to and including each instant, ascending

    Returns
    -------
    k states, each (d,) float32, or None as long as no event had a vector.
    """
    states: list[Vector | None] = []
    state: Vector | None = None
    done = 0
    for end in instants:
        for event in range(done, end):
            if has_item[event]:
                state = step(state, items[event], float(weights[event]), float(decays[event]))
        done = end
        states.append(state)
    return states
