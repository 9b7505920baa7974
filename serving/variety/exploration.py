"""The last places of an answer, of which some are tried out on items of few events.

Each of the last `explore_places` is explored with the chance `explore`. An explored place goes to
one of the candidates that have few events and are not in the answer: half by their scores, half
evenly, so that no chance is near to nothing. The chance with which a place got its item, given the
places before it, is known exactly: the answers can be weighted by it to judge another policy
(inverse propensity weighting, Horvitz and Thompson 1952).
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intake.variety_settings import Variety
from serving.catalogue import Catalogue
from serving.variety.caps import Caps
from serving.vector_index import Rows, Vectors

_EVENLY = 0.5  # share of an explored place that does not look at scores

Chances = NDArray[np.float64]


@dataclass(frozen=True)
class Tried:
    """n places of an answer.

    Attributes
    ----------
    best : (n,) places among the candidates
    propensity : (n,) the chance with which each got its item; None where nothing is explored
    """

    best: Rows
    propensity: Chances | None = None


def explore(
    catalogue: Catalogue,
    rows: Rows,
    scores: Vectors,
    best: Rows,
    variety: Variety,
    request_id: str,
) -> Tried:
    """An answer with some of its last places explored; the same for the same request.

    Parameters
    ----------
    rows, scores : (m,) catalogue rows of the candidates, -1 for an unknown one, and their scores
    best : (n,) places of the answer as it would be else
    """
    best, propensity = best.copy(), np.ones(len(best))
    kept = np.ones(len(best), dtype=bool)
    open_to = _few_events(catalogue, rows, variety.explore_below)
    open_to[best] = False
    random = np.random.default_rng(_seed(request_id))
    last = np.arange(len(best))[-variety.explore_places :].tolist()
    caps = Caps(catalogue, variety.max_per, rows)
    for at in best[: len(best) - len(last)].tolist():
        caps.take(at)
    for place in last:
        room = caps.allowed()
        chances = _chances(scores, open_to & room)
        usual = int(best[place])
        share = 0.0 if chances is None else variety.explore if room[usual] else 1.0
        propensity[place], kept[place] = 1 - share, room[usual]
        if chances is not None and random.random() < share:
            best[place] = random.choice(len(rows), p=chances)
            propensity[place], kept[place] = share * chances[best[place]], True
        open_to[best[place]] = False
        caps.take(int(best[place]))
    return Tried(best[kept], propensity[kept])


def _chances(scores: Vectors, open_to: NDArray[np.bool_]) -> Chances | None:
    """(m,) of each item to be tried, None where none can be."""
    if not open_to.any():
        return None
    scores = np.where(open_to, np.maximum(scores.astype(np.float64), 1e-30), 0.0)
    found: Chances = (1 - _EVENLY) * scores / scores.sum() + _EVENLY * open_to / open_to.sum()
    found /= found.sum()  # to the last digit, as a draw wants it
    return found


def _few_events(catalogue: Catalogue, rows: Rows, below: int) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (rows >= 0) & (catalogue.n_events[np.maximum(rows, 0)] < below)
    return found


def _seed(request_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(request_id.encode(), digest_size=8).digest(), "big")
