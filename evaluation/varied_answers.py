"""What it costs to spread answers, and what it brings: the same answers, other `[variety]`."""

from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from evaluation.measures import bootstrap_by_user, difference_by_user, gains
from evaluation.protocol import TOP
from evaluation.report.document import Bounds, Spread, Varied
from intake.variety_settings import PLAIN, Variety
from serving.catalogue import Catalogue
from serving.past import PastAnswer
from serving.variety.exploration import explore
from serving.variety.kept_proportions import divergences, parts_of, proportions_of
from serving.variety.spread import spread
from serving.vector_index import Rows

Aim = Literal["diversity", "calibrated", "max_per", "explore"]

STRENGTHS: Final[dict[Aim, tuple[float, ...]]] = {
    "diversity": (0.2, 0.4, 0.6, 0.8, 0.9),
    "calibrated": (0.1, 0.2, 0.3, 0.5, 0.7),
    "max_per": (5, 4, 3, 2),
    "explore": (0.1, 0.2, 0.5, 1.0),
}


@dataclass(frozen=True)
class _List:
    """One list of ten.

    Attributes
    ----------
    place : of the chosen item from 1, 0 where it is not in the list
    distance : mean of 1 - cosine of two items
    divergence : of its categories from those of what the user liked; NaN where nothing is known
    n_few : items of few events
    """

    user_id: str
    place: int
    distance: float
    divergence: float
    n_few: int
    item_ids: tuple[str, ...]


@dataclass
class VariedAnswers:
    """Lists of ten of the answers of one service, by aim and strength; filled answer by answer.

    Attributes
    ----------
    column : the categorical column that is calibrated and bounded, None where there is none
    """

    column: str | None
    _lists: dict[tuple[Aim | None, float], dict[int, _List]] = field(default_factory=dict)

    def take(self, answer: PastAnswer, place: int) -> None:
        """One answer; `place` is that of the chosen item in its order from 0, -1 for none."""
        chosen = answer.order[place] if place >= 0 else -1
        for key, variety in self._settings():
            found = _best(answer, variety, f"query {answer.number}")
            described = self._described(answer, found, int(chosen))
            self._lists.setdefault(key, {})[answer.number] = described

    def tables(self) -> list[Varied]:
        """By aim what each strength costs and brings, the answers as they are first."""
        if not self._lists:
            return []
        aims = dict.fromkeys(aim for aim, _ in self._lists if aim is not None)
        plain = self._spread(None, 0.0)
        return [
            Varied(
                aim=aim,
                column=self.column if aim in ("calibrated", "max_per") else None,
                points=[
                    plain,
                    *(self._spread(aim, by) for other, by in self._lists if other == aim),
                ],
            )
            for aim in aims
        ]

    def _settings(self) -> list[tuple[tuple[Aim | None, float], Variety]]:
        found: list[tuple[tuple[Aim | None, float], Variety]] = [((None, 0.0), PLAIN)]
        for aim, strengths in STRENGTHS.items():
            needs_column = aim in ("calibrated", "max_per")
            if needs_column and self.column is None:
                continue
            for strength in strengths:
                said = {self.column: strength} if needs_column else strength
                found.append(((aim, strength), PLAIN.asked({aim: said})))
        return found

    def _described(self, answer: PastAnswer, rows: Rows, chosen: int) -> _List:
        catalogue = answer.catalogue
        at = np.flatnonzero(rows == chosen)
        return _List(
            answer.answer.user_id,
            int(at[0]) + 1 if len(at) else 0,
            _distance(catalogue, rows),
            self._divergence(answer, rows),
            int((catalogue.n_events[rows] < PLAIN.explore_below).sum()),
            tuple(catalogue.item_ids[row] for row in rows.tolist()),
        )

    def _divergence(self, answer: PastAnswer, rows: Rows) -> float:
        history = answer.history
        if self.column is None or history is None:
            return float("nan")
        categories = answer.catalogue.columns.categories(self.column)
        wanted = proportions_of(categories.of_rows(history.item[history.positive]))
        if wanted is None:
            return float("nan")
        shown = parts_of(categories.of_rows(rows)).sum(axis=0, keepdims=True)
        return float(divergences(wanted, shown)[0])

    def _spread(self, aim: Aim | None, strength: float) -> Spread:
        numbers = sorted(self._lists[None, 0.0])
        lists, plain = (
            [self._lists[key][number] for number in numbers]
            for key in ((aim, strength), (None, 0.0))
        )
        users = np.unique([each.user_id for each in plain], return_inverse=True)[1]
        ndcg, before = (
            gains(np.array([each.place for each in some]))["ndcg@10"] for some in (lists, plain)
        )
        few = [each.n_few for each in lists]
        return Spread(
            strength=strength,
            ndcg=Bounds.of(bootstrap_by_user(users, ndcg)),
            difference=Bounds.of(difference_by_user(users, ndcg, before)),
            distance=_mean([each.distance for each in lists]),
            divergence=_mean([each.divergence for each in lists]),
            distinct=len({item for each in lists for item in each.item_ids}),
            few=float(np.mean(few)),
        )


def _best(answer: PastAnswer, variety: Variety, request_id: str) -> Rows:
    order = np.argsort(-answer.scores, kind="stable")
    rows, scores = answer.order[order], answer.scores[order]
    best = spread(answer.catalogue, rows, scores, answer.history, variety, TOP)
    if variety.explore:
        best = explore(answer.catalogue, rows, scores, best, variety, request_id).best
    found: Rows = rows[best]
    return found


def _distance(catalogue: Catalogue, rows: Rows) -> float:
    vectors = catalogue.index.vectors[rows[catalogue.index.present[rows]]]
    n = len(vectors)
    if n < 2:
        return float("nan")
    return 1 - float((vectors @ vectors.T).sum() - n) / (n * (n - 1))


def _mean(values: list[float]) -> float:
    known: NDArray[np.float64] = np.array([each for each in values if np.isfinite(each)])
    return float(known.mean()) if len(known) else float("nan")
