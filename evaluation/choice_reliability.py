"""Whether a score is the chance that an item is chosen: what was said, and what came."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evaluation.protocol import TOP
from evaluation.report.document import Bin, ChoiceScores
from serving.past import PastAnswer

_BINS = 10


@dataclass
class ChoiceReliability:
    """The scores of the first ten of answers, filled answer by answer.

    An answer whose chosen item was not ranked is left out: a score is a chance among those ranked.
    """

    _scores: list[NDArray[np.float64]] = field(default_factory=list)
    _places: list[int] = field(default_factory=list)

    def take(self, answer: PastAnswer, place: int) -> None:
        """One answer; `place` is that of the chosen item in its order from 0, -1 for none."""
        if place >= 0 and len(answer.scores) >= TOP:
            self._scores.append(answer.scores[:TOP].astype(np.float64))
            self._places.append(place)

    def section(self) -> ChoiceScores | None:
        """What was said and what came in ten parts of equal size, None without an answer."""
        if not self._scores:
            return None
        scores = np.stack(self._scores)  # (answers, 10)
        chosen = np.array(self._places)[:, None] == np.arange(TOP)
        order = np.argsort(scores, axis=None, kind="stable")
        parts = np.array_split(order, _BINS)
        bins = [_bin(scores.ravel()[part], chosen.ravel()[part]) for part in parts if len(part)]
        apart = [abs(each.predicted - each.observed) * each.n_rows for each in bins]
        return ChoiceScores(
            n_answers=len(scores),
            ece=sum(apart) / scores.size,
            greatest=float(scores.max()),
            first=_bin(scores[:, 0], chosen[:, 0]),
            bins=bins,
        )


def _bin(scores: NDArray[np.float64], chosen: NDArray[np.bool_]) -> Bin:
    return Bin(predicted=float(scores.mean()), observed=float(chosen.mean()), n_rows=len(scores))
