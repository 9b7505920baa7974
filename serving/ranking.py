"""The order of candidates: by the ranker, or by popularity where there is nothing to rank with."""

from collections.abc import Mapping, Sequence

import numpy as np

from serving.answers import ItemKind, RankedItem, Reason
from serving.candidates import Candidates
from serving.catalogue import Catalogue
from serving.encoded_items import Flags
from serving.explanation import Ablations, explain_items, source_reasons
from serving.score_adjustment import QUERY_WEIGHT, ScoreAdjustment, blend
from serving.slate import Slate
from serving.vector_index import Rows, Vectors
from training.ranker.artifact import Artifact, probabilities


class Ranking:
    """The order that an artifact's ranker gives. Safe for many threads."""

    def __init__(self, artifact: Artifact) -> None:
        self._ranker = artifact.ranker
        self._ablations = Ablations(artifact)
        self._adjustment = ScoreAdjustment(artifact.features)

    def rank(
        self,
        catalogue: Catalogue,
        candidates: Candidates,
        slate: Slate,
        n: int,
        *,
        query: Vectors | None,
        explain: bool,
    ) -> list[RankedItem]:
        """The best `n` of m candidates, best first.

        Parameters
        ----------
        slate : the m candidates in their order, with the user
        query : (d,) vector, towards which scores are moved (see `serving.score_adjustment`);
            may be None
        """
        additions = self._adjustment.measure(catalogue.index, slate, query)
        scores = blend(probabilities(self._ranker, slate.inputs()), additions)  # (m,)
        acted_on, described = slate.items.acted_on, slate.items.described
        scores = _hold_back(scores, acted_on | described)
        order = _order(scores, acted_on | described)[:n]
        reasons = None
        if explain:
            best = slate.rows(order)
            reasons = explain_items(
                catalogue,
                best,
                [candidates.sources(at) for at in order.tolist()],
                self._ablations.contributions(best),
                {name: added[order] for name, added in additions.items()},
            )
        kinds = _kinds(acted_on, described)
        return _items(catalogue, candidates, order, scores, kinds, reasons)


def rank_by_popularity(
    catalogue: Catalogue,
    candidates: Candidates,
    n: int,
    *,
    query: Vectors | None,
    explain: bool,
) -> list[RankedItem]:
    """The best `n` candidates by popularity, moved towards the query; from memory only.

    An item that the catalogue does not have comes after all others.
    """
    rows, known = candidates.rows, candidates.rows >= 0
    scores = np.zeros(len(rows), dtype=np.float32)
    scores[known] = catalogue.popularity[rows[known]]
    acted_on, described = np.zeros_like(known), known
    acted_on[known] = catalogue.acted_on[rows[known]]
    if query is not None:
        scores = blend(scores, {"query": QUERY_WEIGHT * _deviations(catalogue, rows, query)})
    order = _order(scores, known, np.where(known, rows, len(catalogue)))[:n]
    reasons = None
    if explain:
        reasons = [tuple(source_reasons(candidates.sources(at))) for at in order.tolist()]
    kinds = _kinds(acted_on, described)
    return _items(catalogue, candidates, order, scores, kinds, reasons)


def _deviations(catalogue: Catalogue, rows: Rows, query: Vectors) -> Vectors:
    """(m,) standardised cosine of each catalogue row to the query, 0 where there is no vector."""
    deviations = np.zeros(len(rows), dtype=np.float32)
    known = np.flatnonzero(rows >= 0)
    found = known[catalogue.index.present[rows[known]]]
    cosines = catalogue.index.vectors[rows[found]] @ query
    deviations[found] = catalogue.index.moments.standardise(query, cosines)
    return deviations


def _hold_back(scores: Vectors, known: Flags) -> Vectors:
    """The scores, where items without any feature have at most the lowest of the others.

    The ranker has never seen such an item: what it says of one is not evidence, and must not put
    it before items of which something is known.
    """
    if known.all() or not known.any():
        return scores
    return np.where(known, scores, np.minimum(scores, scores[known].min()))


def _order(scores: Vectors, known: Flags, tie: Rows | None = None) -> Rows:
    """(m,) places, best score first; of equal scores known items first, then by `tie`."""
    tie = np.arange(len(scores)) if tie is None else tie
    return np.lexsort((tie, ~known, -scores))


def _kinds(acted_on: Flags, described: Flags) -> list[ItemKind]:
    names: Mapping[tuple[bool, bool], ItemKind] = {
        (False, True): "text_only",
        (False, False): "none",
    }
    pairs = zip(acted_on.tolist(), described.tolist(), strict=True)
    return [names.get(pair, "full") for pair in pairs]


def _items(
    catalogue: Catalogue,
    candidates: Candidates,
    order: Rows,
    scores: Vectors,
    kinds: Sequence[ItemKind],
    reasons: Sequence[tuple[Reason, ...]] | None,
) -> list[RankedItem]:
    item_ids, values = candidates.item_ids, scores.tolist()
    return [
        RankedItem(
            item_ids[at],
            catalogue.title(item_ids[at]),
            values[at],
            candidates.sources(at) if candidates.orders else (),
            kinds[at],
            kinds[at] != "full",
            reasons[place] if reasons is not None else (),
        )
        for place, at in enumerate(order.tolist())
    ]
