"""The order of candidates: what is chosen next, what is liked, and what the query asks for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intake.model_settings import RankerConfig
from intake.variety_settings import Variety
from serving.answers import Detail, ItemKind, RankedItem, Reason
from serving.candidates import Candidates
from serving.catalogue import Catalogue
from serving.encoded_items import Flags
from serving.explanation import explain_items
from serving.request_context import NO_WEIGHTS
from serving.shopper_reasons import source_reasons, verb_of
from serving.slate import RankedSlate
from serving.variety.exploration import Tried, explore
from serving.variety.spread import spread
from serving.vector_index import Rows, Vectors
from training.ranker.artifact import Artifact, every_probability
from training.ranker.columns import Numbers

_EPSILON = 1e-6

Logits = NDArray[np.floating]


@dataclass(frozen=True)
class Ordered:
    """m candidates in order.

    Attributes
    ----------
    order : (m,) places, the best first
    scores, liked : (m,) by place, see `RankedItem`
    values : (m,) by place, mean value of the events of an item, NaN where there is none
    outcomes : by event_type (m,) by place, how likely the item becomes such an event
    """

    order: Rows
    scores: Vectors
    liked: Vectors
    values: Numbers
    outcomes: Mapping[str, Vectors]

    def best(
        self,
        catalogue: Catalogue,
        candidates: Candidates,
        variety: Variety,
        n: int,
        request_id: str | None = None,
    ) -> Tried:
        """At most n places of what an answer has, in its order; see `spread` and `explore`.

        Parameters
        ----------
        request_id : None to explore nothing
        """
        rows, scores = candidates.rows, self.scores
        first = spread(
            catalogue, rows[self.order], scores[self.order], candidates.history, variety, n
        )
        if not variety.explore or request_id is None:
            return Tried(self.order[first])
        return explore(catalogue, rows, scores, self.order[first], variety, request_id)


class Ranking:
    """The order that an artifact gives. Safe for many threads.

    Parameters
    ----------
    objective : what an order serves: choices, by its weights also the user's satisfaction after,
        and the value of an item (rating, revenue, dwell: what events carry)
    outcomes : by event_type the weight of becoming such an event, of those that the artifact knows
    """

    def __init__(
        self,
        artifact: Artifact,
        objective: RankerConfig,
        outcomes: Mapping[str, float] | None = None,
    ) -> None:
        self._ranker = artifact.ranker
        self._objective = objective
        known = artifact.features.outcomes
        self._outcomes = {name: (outcomes or {}).get(name, 0.0) for name in known}

    def order(
        self,
        catalogue: Catalogue,
        candidates: Candidates,
        slate: RankedSlate,
        weights: Mapping[str, float] = NO_WEIGHTS,
    ) -> Ordered:
        """The order of m candidates. `slate` has them in their order.

        Parameters
        ----------
        weights : satisfaction and value, in place of those of the objective
        """
        user, recent = candidates.user, candidates.recent
        assert user is not None and recent is not None  # a slate has a user
        collaborative = user.numbers(candidates.rows)
        every = every_probability(self._ranker, slate.inputs(collaborative))  # (m, 1 + K)
        liked, outcomes = every[:, 0], dict(zip(self._outcomes, every[:, 1:].T, strict=True))
        objective, values = self._objective.model_copy(update=weights), slate.values()
        logits: Logits = catalogue.scorer.choose(candidates.signals[None], recent)[0]
        logits = logits + objective.satisfaction * log_odds(liked)
        logits = logits + objective.value * deviations(values)
        for name, chance in outcomes.items():
            logits = logits + self._outcomes[name] * log_odds(chance)
        if candidates.query is not None:
            logits = logits + _spread(logits) * candidates.query
        acted_on, described = slate.items.acted_on, slate.items.described
        logits = _hold_back(logits, acted_on | described)
        order = _order(logits, acted_on | described)
        return Ordered(order, _shares(logits), liked, values, outcomes)


def list_items(
    catalogue: Catalogue,
    candidates: Candidates,
    slate: RankedSlate,
    ordered: Ordered,
    tried: Tried,
    detail: Detail,
) -> list[RankedItem]:
    """The candidates in the places of an answer. `slate` has the candidates in their order."""
    best, reasons = tried.best, None
    if detail != "none":
        rows = slate.rows(best)
        reasons = explain_items(catalogue, rows, candidates, best, debug=detail == "debug")
    kinds = _kinds(slate.items.acted_on[best], slate.items.described[best])
    liked = ordered.liked if catalogue.interactions.explicit else None
    found = _items(catalogue, candidates, best, ordered.scores, kinds, reasons, liked)
    if ordered.outcomes:
        for item, place in zip(found, best.tolist(), strict=True):
            item.outcomes = {name: float(of[place]) for name, of in ordered.outcomes.items()}
    if tried.propensity is not None:
        for item, propensity in zip(found, tried.propensity.tolist(), strict=True):
            item.propensity = propensity
    return found


def rank_by_popularity(
    catalogue: Catalogue, candidates: Candidates, n: int, variety: Variety, *, explain: bool
) -> list[RankedItem]:
    """The best `n` candidates by popularity, moved towards the query; from memory only.

    Of `variety` the bounds hold. An item that the catalogue does not have comes after all others.
    """
    rows, known = candidates.rows, candidates.rows >= 0
    scores = np.zeros(len(rows), dtype=np.float32)
    scores[known] = catalogue.popularity[rows[known]]
    acted_on, described = np.zeros_like(known), known
    acted_on[known] = catalogue.acted_on[rows[known]]
    if candidates.query is not None:
        logits = log_odds(scores)
        logits = logits + _spread(logits) * candidates.query
        scores = np.where(known, 1 / (1 + np.exp(-logits)), np.float32(0.0)).astype(np.float32)
    order = _order(scores, known, np.where(known, rows, len(catalogue)))
    bounds = Variety(max_per=variety.max_per)
    order = order[spread(catalogue, rows[order], scores[order], None, bounds, n)]
    reasons = None
    if explain:
        verb = verb_of(catalogue)
        reasons = [
            tuple(source_reasons(candidates.sources(catalogue, at), verb)) for at in order.tolist()
        ]
    kinds = _kinds(acted_on[order], described[order])
    return _items(catalogue, candidates, order, scores, kinds, reasons)


def log_odds(probability: NDArray[np.floating]) -> NDArray[np.float64]:
    """log of p / (1 - p), bounded."""
    bounded = np.clip(probability.astype(np.float64), _EPSILON, 1 - _EPSILON)
    found: NDArray[np.float64] = np.log(bounded / (1 - bounded))
    return found


def deviations(values: Numbers) -> Numbers:
    """(m,) standard deviations from the mean of the known values, 0 where there is none."""
    known = np.isfinite(values)
    spread = float(values[known].std()) if known.any() else 0.0
    if spread < _EPSILON:
        return np.zeros(len(values))
    return np.where(known, (values - values[known].mean()) / spread, 0.0)


def _spread(logits: Logits) -> float:
    """The standard deviation of the logits: the scale on which a query speaks; 1 where none."""
    return float(logits.std()) or 1.0 if len(logits) else 1.0


def _shares(logits: Logits) -> Vectors:
    """(m,) softmax: the chance that an item is chosen, if one of these is."""
    if not len(logits):
        return np.zeros(0, np.float32)
    raised = np.exp(logits - logits.max())
    shares: Vectors = (raised / raised.sum()).astype(np.float32)
    return shares


def _hold_back(logits: Logits, known: Flags) -> Logits:
    """The logits, where items without any feature have at most the lowest of the others.

    What a model says of such an item is not evidence, and must not put it before items of which
    something is known.
    """
    if known.all() or not known.any():
        return logits
    return np.where(known, logits, np.minimum(logits, logits[known].min()))


def _order(scores: NDArray[np.floating], known: Flags, tie: Rows | None = None) -> Rows:
    """(m,) places, best score first; of equal scores known items first, then by `tie`."""
    tie = np.arange(len(scores)) if tie is None else tie
    return np.lexsort((tie, ~known, -scores))


def _kinds(acted_on: Flags, described: Flags) -> list[ItemKind]:
    names: tuple[ItemKind, ...] = ("none", "text_only", "full")
    return [names[at] for at in np.where(acted_on, 2, described).tolist()]


def _items(
    catalogue: Catalogue,
    candidates: Candidates,
    order: Rows,
    scores: Vectors,
    kinds: Sequence[ItemKind],
    reasons: Sequence[tuple[Reason, ...]] | None,
    liked: Vectors | None = None,
) -> list[RankedItem]:
    item_ids, rows, values = candidates.item_ids, candidates.rows.tolist(), scores.tolist()
    titles, likes = catalogue.titles, None if liked is None else liked.tolist()
    columns = None if reasons is None else catalogue.columns.values_of(candidates.rows[order])
    return [
        RankedItem(
            item_ids[at],
            titles[rows[at]] if rows[at] >= 0 else None,
            values[at],
            None if likes is None else likes[at],
            candidates.sources(catalogue, at),
            kinds[place],
            kinds[place] != "full",
            reasons[place] if reasons is not None else (),
            columns[place] if columns is not None else None,
        )
        for place, at in enumerate(order.tolist())
    ]
