"""The protocol "cold items": can a recommender place items that nobody has met yet?

A share of the items is held out: none of their events is trained on or is in a history. Only they
are ranked, at the instants at which users with a few liked items chose one of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from evaluation.measures import gains
from evaluation.protocol import Part, Scores
from evaluation.report.document import ColdItems, Figure
from intake.split_settings import BY_TIME, SplitConfig
from training.split import split_events
from transformations.collaborative.histories import (
    Events,
    Flags,
    Floats,
    Histories,
    Ints,
    take_events,
)

SHARE = 0.15
SEEDS = (0, 1, 2)
_EVENTS_OF_AN_ITEM = 10
_LIKED_BY_A_USER = 3


@dataclass(frozen=True)
class ColdQueries:
    """q choices among h held-out items.

    Attributes
    ----------
    warm : the log without the events of the held-out items; codes as in the whole log
    n_fitted : rows of `warm` before the part: what may be fitted on
    held_out : (h,) ascending codes
    user : (q,) codes
    time : (q,) microseconds since the epoch
    target : (q,) which of the held-out items was chosen
    rankable : (q, h) known at the instant, and not touched by the user strictly before
    """

    warm: Events
    n_fitted: int
    held_out: Ints
    user: Ints
    time: Ints
    target: Ints
    rankable: Flags

    def __len__(self) -> int:
        return len(self.user)

    def histories(self, limit: int | None = None) -> Histories:
        """The newest `limit` events with other items strictly before; None for all."""
        return self.warm.histories(self.user, self.time, limit or len(self.warm))


ColdScorer = Callable[[ColdQueries], Scores]
"""(q, h) scores of the held-out items, by a model that it fits to the first rows of `warm`."""


def measure_cold_items(
    events: Events,
    vectors: Floats,
    ours: Mapping[str, ColdScorer],
    *,
    part: Part = "test",
    seeds: Sequence[int] = SEEDS,
    how: SplitConfig = BY_TIME,
) -> ColdItems:
    """NDCG@10 of ours, beside chance, text cosine and true popularity, one number a seed.

    Parameters
    ----------
    vectors : (i, d) of the items' texts, L2-normalised, zeros where an item has none
    ours : scorers by name; each is called once a seed
    """
    found: dict[str, list[Figure]] = {}
    sizes, lists = [], []
    for seed in seeds:
        queries = hold_out(events, seed, part, how)
        scorers: dict[str, ColdScorer] = {
            **ours,
            "text cosine": partial(text_cosine, vectors=vectors),
            "chance": partial(_chance, seed=seed),
            "true popularity": partial(_true_popularity, events=events),
        }
        sizes.append(len(queries))
        lists.append(float(queries.rankable.sum(axis=1).mean()) if len(queries) else 0.0)
        for name, score in scorers.items():
            found.setdefault(name, []).append(_ndcg(queries, score(queries)))
    return ColdItems(
        share=SHARE,
        n_items=float(np.mean(lists)),
        n_queries=float(np.mean(sizes)),
        ndcg=found,
    )


def hold_out(
    events: Events,
    seed: int,
    part: Part = "test",
    how: SplitConfig = BY_TIME,
) -> ColdQueries:
    """The choices of held-out items in a part, by users with three or more liked items before.

    A seed draws 15 % of the items that have ten or more events.

    Parameters
    ----------
    how : a split by time
    """
    split = split_events(events, how)
    rows = split.test if part == "test" else split.validation
    held_out = draw_items(events, seed)
    is_cold = np.isin(events.item, held_out)
    warm = take_events(events, np.flatnonzero(~is_cold))
    chosen = rows[is_cold[rows] & events.positive[rows]]
    rankable = events.rankable(events.user[chosen], events.time[chosen])[:, held_out]
    target = np.searchsorted(held_out, events.item[chosen])
    histories = warm.histories(events.user[chosen], events.time[chosen], len(warm))
    n_liked = np.bincount(histories.query, histories.positive, minlength=len(chosen))
    asked = (n_liked >= _LIKED_BY_A_USER) & rankable[np.arange(len(chosen)), target]
    return ColdQueries(
        warm,
        int(np.count_nonzero(~is_cold[: rows.min(initial=len(events))])),
        held_out,
        events.user[chosen][asked],
        events.time[chosen][asked],
        target[asked],
        rankable[asked],
    )


def draw_items(events: Events, seed: int) -> Ints:
    """(h,) ascending codes of 15 % of the items that have ten or more events."""
    n_events = np.bincount(events.item, minlength=len(events.items))
    known_well = np.flatnonzero(n_events >= _EVENTS_OF_AN_ITEM)
    drawn = np.random.default_rng(seed).choice(
        known_well, int(SHARE * len(known_well)), replace=False
    )
    return np.sort(drawn)


def text_cosine(queries: ColdQueries, vectors: Floats) -> Scores:
    """(q, h) of the held-out items, see `cosine_to_liked`."""
    return cosine_to_liked(queries.histories(), vectors, queries.held_out)


def cosine_to_liked(histories: Histories, vectors: Floats, items: Ints | None = None) -> Scores:
    """(q, m) cosine of an item's vector to the mean of the vectors of what the user liked.

    The mean of all items is taken away first: it says nothing of an item, and left in it makes the
    most ordinary text the nearest to everybody (NDCG@10 .056 instead of .12 on MovieLens).

    Parameters
    ----------
    vectors : (i, d) of all items, zeros where an item has none
    items : (m,) codes of those that are scored; None for all
    """
    known = np.asarray(vectors.any(axis=1))
    usual = vectors.sum(axis=0) / max(np.count_nonzero(known), 1)
    centred = np.where(known[:, None], vectors - usual, 0.0)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    liked = histories.sums(histories.positive.astype(np.float32), len(vectors)) @ centred
    lengths = np.linalg.norm(liked, axis=1, keepdims=True)
    scored = centred if items is None else centred[items]
    found: Scores = (liked / np.maximum(lengths, 1e-12)) @ scored.T
    return found


def _chance(queries: ColdQueries, seed: int) -> Scores:
    return np.random.default_rng(seed).random(queries.rankable.shape)


def _true_popularity(queries: ColdQueries, events: Events) -> Scores:
    """(q, h) positive events before the part, which nobody who held them out could know."""
    before = slice(0, int(np.searchsorted(events.time, queries.time.min(initial=events.time[-1]))))
    liked = events.item[before][events.positive[before]]
    counts = np.bincount(liked, minlength=len(events.items))[queries.held_out]
    return np.broadcast_to(counts.astype(np.float64), queries.rankable.shape)


def ranks_of(queries: ColdQueries, scores: Scores) -> Ints:
    """(q,) place of each chosen item from 1; of equal scores the first item comes first."""
    own = scores[np.arange(len(queries)), queries.target][:, None]
    is_first = np.arange(scores.shape[1])[None, :] < queries.target[:, None]
    above = ((scores > own) | ((scores == own) & is_first)) & queries.rankable
    found: Ints = 1 + above.sum(axis=1)
    return found


def _ndcg(queries: ColdQueries, scores: Scores) -> float:
    """Mean NDCG@10; NaN without a query."""
    if not len(queries):
        return float("nan")
    return float(gains(ranks_of(queries, scores))["ndcg@10"].mean())
