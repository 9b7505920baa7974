"""What it costs to serve satisfaction or value beside choice: the same answers, other weights."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from evaluation.measures import gains
from evaluation.protocol import TOP
from evaluation.report.document import Point, TradeOff
from intake.model_settings import RankerConfig
from serving.ranking import deviations, log_odds
from training.ranker.columns import Numbers
from transformations.collaborative.histories import Ints

Term = Literal["satisfaction", "value"]

WEIGHTS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)
_GAINED: Final[dict[Term, str]] = {
    "satisfaction": "probability of being liked, mean of the first ten",
    "value": "value of an item's events, mean of the first ten",
}

Shares = NDArray[np.floating]


@dataclass
class TradeOffs:
    """Answers of one service, ordered anew under each of `WEIGHTS`; filled answer by answer.

    Attributes
    ----------
    served : the objective under which the answers were given
    """

    served: RankerConfig
    _found: dict[Term, list[list[tuple[int, float]]]] = field(
        default_factory=lambda: {"satisfaction": [], "value": []}
    )

    def take(self, chances: Shares, liked: Shares, values: Numbers, at: int) -> None:
        """One answer.

        Parameters
        ----------
        chances : (m,) by the served objective, that an item is chosen; the best first
        liked : (m,) probability of being liked
        values : (m,) mean value of the events of an item, NaN where there is none
        at : place of the chosen item from 0, -1 where it is not among the m
        """
        served = np.log(np.maximum(chances, 1e-30))
        terms: dict[Term, tuple[Numbers, Shares]] = {
            "satisfaction": (log_odds(liked), liked),
            "value": (deviations(values), values),
        }
        for term, (spoken, gained) in terms.items():
            own: float = getattr(self.served, term)
            orders = (
                np.argsort(-(served + (weight - own) * spoken), kind="stable") for weight in WEIGHTS
            )
            answer = [(_place(order, at), _mean(gained[order[:TOP]])) for order in orders]
            self._found[term].append(answer)

    def curves(self) -> list[TradeOff]:
        """By term of the objective, NDCG@10 against what its weight gains in the first ten.

        A term that gains nothing has no curve: without an answer, and where no item has a value.
        """
        return [
            TradeOff(term=term, value=_GAINED[term], points=_points(answers))
            for term, answers in self._found.items()
            if answers and np.isfinite([gained for answer in answers for _, gained in answer]).any()
        ]


def _points(answers: Sequence[Sequence[tuple[int, float]]]) -> list[Point]:
    found = np.array(answers)  # (answers, weights, 2)
    ranks, gained = found[:, :, 0].astype(np.int64), np.nanmean(found[:, :, 1], axis=0)
    return [
        Point(
            x=float(gains(ranks[:, at])["ndcg@10"].mean()), y=float(gained[at]), label=f"{weight:g}"
        )
        for at, weight in enumerate(WEIGHTS)
    ]


def _mean(values: NDArray[np.floating]) -> float:
    """Of the known values, NaN without any."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _place(order: Ints, at: int) -> int:
    return int(np.flatnonzero(order == at)[0]) + 1 if at >= 0 else 0
