"""What it costs to serve satisfaction beside choice: the same answers under other weights."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evaluation.measures import gains
from evaluation.protocol import TOP
from evaluation.report.document import Point, TradeOff
from transformations.collaborative.histories import Ints

WEIGHTS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)
_EPSILON = 1e-6

Shares = NDArray[np.floating]


@dataclass
class TradeOffs:
    """Answers of one service, ordered anew under each of `WEIGHTS`; filled answer by answer.

    Attributes
    ----------
    served : weight of satisfaction under which the answers were given
    """

    served: float
    _ranks: list[list[int]] = field(default_factory=list)
    _liked: list[list[float]] = field(default_factory=list)

    def take(self, chances: Shares, liked: Shares, at: int) -> None:
        """One answer.

        Parameters
        ----------
        chances : (m,) by the served objective, that an item is chosen; the best first
        liked : (m,) probability of being liked
        at : place of the chosen item from 0, -1 where it is not among the m
        """
        bounded = np.clip(liked.astype(np.float64), _EPSILON, 1 - _EPSILON)
        served, satisfied = np.log(np.maximum(chances, 1e-30)), np.log(bounded / (1 - bounded))
        orders = [
            np.argsort(-(served + (weight - self.served) * satisfied), kind="stable")
            for weight in WEIGHTS
        ]
        self._ranks.append([_place(order, at) for order in orders])
        self._liked.append([float(liked[order[:TOP]].mean()) for order in orders])

    def curve(self) -> TradeOff | None:
        """NDCG@10 against the mean probability of being liked in the first ten; None if empty."""
        if not self._ranks:
            return None
        ranks, liked = np.array(self._ranks), np.array(self._liked)
        points = [
            Point(
                x=float(gains(ranks[:, at])["ndcg@10"].mean()),
                y=float(liked[:, at].mean()),
                label=f"{weight:g}",
            )
            for at, weight in enumerate(WEIGHTS)
        ]
        return TradeOff(value="probability of being liked, mean of the first ten", points=points)


def _place(order: Ints, at: int) -> int:
    return int(np.flatnonzero(order == at)[0]) + 1 if at >= 0 else 0
