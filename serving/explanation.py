"""Why an item has its place: its sources, a liked item like it, what each signal adds, facts.

The contribution of a signal is an ablation: the logit of being chosen minus the logit where the
chooser sees the signal as average. It is exact for the chooser as it is; contributions do not add
up to the logit, since signals speak about each other.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from feast_fusion.column_names import feature_column
from feast_fusion.training_set import TrainingSet
from serving.answers import Reason
from serving.candidates import Candidates
from serving.catalogue import Catalogue
from serving.vector_index import Rows, Vectors
from transformations import names

# A liked item is named only where it is this much nearer than the average item of the catalogue: of
# fifty liked items, one is always a little nearer than the others.
LIKED_DEVIATIONS = 1.5

_SOURCES = {
    "together": "chosen by those who chose what you chose",
    "following": "often chosen next",
    "disliked": "chosen by those who disliked what you disliked",
    "visit": "often chosen next on the same visit",
    "popular": "popular",
    "popular_long": "popular of late",
    "popular_short": "popular right now",
    "liked_rate": "liked by most who chose it",
    "text": "told like what you chose",
    "sequence": "fits what you chose lately, in that order",
    "own_fading": "you chose it often, and lately",
    "own_count": "you chose it often",
    "own_week": "you chose it this week",
    "own_month": "you chose it this month",
    "own_newest": "you chose it the last time",
    "own_recent": "how long ago you chose it",
    "own_due": "it is time for it again",
    "own_any": "you chose it before",
    "query": "near to your request",
    "fresh": "new",
}


def explain_items(
    catalogue: Catalogue, rows: TrainingSet, candidates: Candidates, at: Rows
) -> list[tuple[Reason, ...]]:
    """The reasons for some candidates of one user, the strongest signals first.

    Parameters
    ----------
    rows : the features of these candidates
    at : (k,) their places among the candidates
    """
    item_ids = [candidates.item_ids[place] for place in at.tolist()]
    liked = nearest_liked(catalogue, liked_items(rows), item_ids)
    facts, added = _facts(rows), _contributions(catalogue, candidates, at)
    explained = []
    for number, place in enumerate(at.tolist()):
        by_strength = sorted(added.items(), key=lambda each: -abs(float(each[1][number])))
        moves = [
            Reason("signal", _moves(name, of[number]), float(of[number]))
            for name, of in by_strength
        ]
        sources = source_reasons(candidates.sources(catalogue, place))
        explained.append((*sources, *liked[number], *moves, *facts[number]))
    return explained


def liked_items(rows: TrainingSet) -> list[str]:
    """The positive ones of the recent items of these rows' one user, newest first, each once."""
    recent = [feature_column(names.USER_RECENT, name) for name in ("item_ids", "positives")]
    ids, positives = (rows.lists.get(name) for name in recent)
    if ids is None or positives is None or not len(rows) or ids.index[0] < 0:
        return []
    newest = ids.values[int(ids.index[0])].as_py()
    answers = positives.values[int(positives.index[0])].as_py()
    return list(dict.fromkeys(item for item, yes in zip(newest, answers, strict=True) if yes))


def _contributions(catalogue: Catalogue, candidates: Candidates, at: Rows) -> Mapping[str, Vectors]:
    """By signal (k,) what it adds to the logit of each candidate."""
    if candidates.recent is None:
        return {}
    n_signals = len(candidates.signals)
    signals = np.repeat(candidates.signals[None, :, at], n_signals + 1, axis=0)
    signals[np.arange(n_signals), np.arange(n_signals)] = 0.0  # the last one is whole
    history = candidates.recent.take(np.zeros(n_signals + 1, dtype=np.int64))
    logits = catalogue.scorer.choose(signals, history)
    return dict(zip(catalogue.scorer.names, logits[-1] - logits[:-1], strict=True))


def source_reasons(sources: Sequence[str]) -> list[Reason]:
    """One reason per source."""
    return [Reason("source", _SOURCES[name]) for name in sources]


def nearest_liked(
    catalogue: Catalogue, liked: Sequence[str], item_ids: Sequence[str]
) -> list[list[Reason]]:
    """Per item the liked item that is nearest by text; nothing where none is near or known.

    An item is never its own reason.
    """
    known = [item_id for item_id in liked if catalogue.vector(item_id) is not None]
    index = catalogue.index
    rows = catalogue.rows_of(known)
    found: list[list[Reason]] = []
    for item_id in item_ids:
        vector = catalogue.vector(item_id)
        if vector is None or not known:
            found.append([])
            continue
        cosines = index.vectors[rows] @ vector  # (liked,)
        cosines[[other == item_id for other in known]] = -np.inf
        best = int(cosines.argmax())
        deviations = index.moments.standardise(index.vectors[rows[best]], cosines[best : best + 1])
        is_near = np.isfinite(cosines[best]) and deviations[0] >= LIKED_DEVIATIONS
        found.append([_because(catalogue, known[best], float(cosines[best]))] if is_near else [])
    return found


def _because(catalogue: Catalogue, item_id: str, cosine: float) -> Reason:
    name = catalogue.title(item_id) or item_id
    return Reason("liked", f"because you liked {name}", cosine, item_id)


def _moves(what: str, value: np.floating) -> str:
    return f"{'raised' if value >= 0 else 'lowered'}: {_SOURCES[what]}"


def _facts(rows: TrainingSet) -> list[tuple[Reason, ...]]:
    """How often others acted on each item, and how often they liked it."""
    counts = [
        feature_column(names.ITEM_STATS, name) for name in ("item_n_events", "item_n_positive")
    ]
    if any(name not in rows.table.column_names for name in counts):
        return [()] * len(rows)
    columns = (rows.table[name].to_pylist() for name in counts)
    return [_fact(n_events, n_positive) for n_events, n_positive in zip(*columns, strict=True)]


def _fact(n_events: int | None, n_positive: int | None) -> tuple[Reason, ...]:
    if not n_events:
        return (Reason("fact", "nobody has acted on it yet", 0.0),)
    if n_positive is None or n_positive == n_events:
        return (Reason("fact", f"chosen {n_events:,} times", float(n_events)),)
    share = n_positive / n_events
    return (Reason("fact", f"liked in {share:.0%} of {n_events:,} events", share),)
