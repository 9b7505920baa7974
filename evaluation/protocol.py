"""The protocol "next positive": of all items known at an instant, where does the chosen one stand?

A query is one positive event of the last part of the log. Everything strictly before its instant
may be used; models are fitted on the rows before the part.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from feast_fusion.times import TIMESTAMP
from intake.split_settings import BY_TIME, SplitConfig
from training.split import Rows, split_events
from transformations.collaborative.histories import Events, Flags, Histories, Ints, take_events

Part = Literal["validation", "test"]
Scores = NDArray[np.floating]

TOP = 10
TEST_LIMIT = 2000
_AT_ONCE = 256

RANKS = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_id", pa.string()),  # what the user chose
        ("event_timestamp", TIMESTAMP),
        ("rank", pa.int64()),  # from 1; null where the item was not ranked
        ("n_ranked", pa.int64()),
        ("top10", pa.list_(pa.string())),  # best first
    ]
)


@dataclass(frozen=True)
class Queries:
    """q positive events of a log, and what is ranked for each.

    Attributes
    ----------
    rows : (q,) ascending row numbers of the events
    fitted_rows : ascending row numbers of what a model may be fitted on
    repeats : whether items stay in the ranking that the user had an event with strictly before.
        Where they do not, only choices of an item that was new to the user are queries.
    """

    events: Events
    rows: Ints
    fitted_rows: Rows
    repeats: bool = False

    @property
    def n_fitted(self) -> int:
        """How many events a model may be fitted on."""
        return len(self.fitted_rows)

    @cached_property
    def fitted(self) -> Events:
        """The events that a model may be fitted on; users and items keep their codes."""
        return take_events(self.events, self.fitted_rows)

    @property
    def log(self) -> Events:
        """The events whose first `n_fitted` a model may be fitted on.

        Where these are the first of all, later ones are there too, as what was known at a choice.
        """
        is_first = bool((self.fitted_rows == np.arange(self.n_fitted)).all())
        return self.events if is_first else self.fitted

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def user(self) -> Ints:
        """(q,) codes."""
        return self.events.user[self.rows]

    @property
    def target(self) -> Ints:
        """(q,) codes of what was chosen."""
        return self.events.item[self.rows]

    def target_id(self, at: int) -> str:
        """The id of what was chosen in one query."""
        found: str = self.events.items.ids[int(self.target[at])].as_py()
        return found

    @property
    def time(self) -> Ints:
        """(q,) microseconds since the epoch."""
        return self.events.time[self.rows]

    @cached_property
    def rankable(self) -> Flags:
        """(q, i) what is ranked: known at the instant, and not touched before unless repeats."""
        return self.events.rankable(self.user, self.time, repeats=self.repeats)

    def histories(self, limit: int | None = None) -> Histories:
        """The newest `limit` events of each user strictly before the instant; None for all."""
        return self.events.histories(self.user, self.time, limit or len(self.events))

    def table(self) -> pa.Table:
        """user_id, item_id and event_timestamp, in the order of the queries."""
        return pa.table(
            {
                "user_id": self.events.users.take(self.user),
                "item_id": self.events.items.take(self.target),
                "event_timestamp": pa.array(self.time, pa.int64()).cast(TIMESTAMP),
            }
        )

    def batches(self) -> Iterator["Queries"]:
        """The same queries in parts, so that a table over the catalogue stays small."""
        for start in range(0, len(self), _AT_ONCE):
            rows = self.rows[start : start + _AT_ONCE]
            yield Queries(self.events, rows, self.fitted_rows, self.repeats)


def next_positives(
    events: Events,
    part: Part = "test",
    *,
    limit: int | None = TEST_LIMIT,
    seed: int = 0,
    repeats: bool = False,
    how: SplitConfig = BY_TIME,
) -> Queries:
    """The queries of a part of `[split]`.

    Parameters
    ----------
    limit : at most this many, drawn without replacement by `seed`; None for all
    """
    split = split_events(events, how)
    rows, fitted_rows = (
        (split.test, np.sort(split.past)) if part == "test" else (split.validation, split.train)
    )
    return Queries(events, _asked(events, rows, limit, seed, repeats), fitted_rows, repeats)


def positives_since(
    events: Events, since: int, *, limit: int | None, seed: int = 0, repeats: bool = False
) -> Queries:
    """The queries of all events from an instant (us) on; a model may be fitted on those before.

    Parameters are those of `next_positives`.
    """
    n_before = int(np.searchsorted(events.time, since))
    rows = np.arange(n_before, len(events))
    return Queries(events, _asked(events, rows, limit, seed, repeats), np.arange(n_before), repeats)


def _asked(events: Events, rows: Ints, limit: int | None, seed: int, repeats: bool) -> Ints:
    """The rows that are queries."""
    rows = rows[events.positive[rows]]
    if not repeats:
        rows = rows[events.is_new(rows)]
    if limit is not None and len(rows) > limit:
        rows = rows[np.sort(np.random.default_rng(seed).choice(len(rows), limit, replace=False))]
    return rows


class Tied(NamedTuple):
    """The places that a chosen item may have where equals stand in any order, from 1; 0 is absent.

    Attributes
    ----------
    first, last : (q,) of each query; the same where the item has no equal
    """

    first: Ints
    last: Ints


@dataclass(frozen=True)
class Ranked:
    """What a recommender answered to q queries.

    Attributes
    ----------
    rank : (q,) place of the chosen item, from 1; 0 where it was not ranked
    n_ranked : (q,) how many items were ranked
    top : (q, 10) codes of the best, -1 where there are fewer
    sources : by the name of a source of candidates the places of the chosen item in it; a source
        that says nothing in any query is left out
    candidate : (q,) the place among all candidates together, in the order in which they were
        gathered, from 1; 0 where it is not among them
    """

    rank: Ints
    n_ranked: Ints
    top: Ints
    candidate: Ints
    sources: Mapping[str, Tied] = field(default_factory=dict)

    def table(self, queries: Queries) -> pa.Table:
        """A row per query in the schema `RANKS`."""
        found, kept = queries.table(), self.top >= 0
        offsets = np.append(0, np.cumsum(kept.sum(axis=1))).astype(np.int32)
        top = pa.ListArray.from_arrays(offsets, queries.events.items.take(self.top[kept]))
        rank = pa.array(self.rank, pa.int64(), mask=self.rank == 0)
        columns = [*found.columns, rank, pa.array(self.n_ranked, pa.int64()), top]
        return pa.table(columns, schema=RANKS)


Scorer = Callable[[Queries], Scores]
"""(q, i) scores of every item for queries in ascending order; what is rankable is not its matter.
"""

Recommends = Callable[[Queries], Ranked]


def rank_by_scores(queries: Queries, score: Scorer) -> Ranked:
    """All rankable items by falling score; of equal scores the first id comes first."""
    parts = [_ranked(batch, score(batch)) for batch in queries.batches()]
    if not parts:
        none = np.zeros(0, np.int64)
        return Ranked(none, none, np.zeros((0, TOP), np.int64), none)
    rank, n_ranked, top = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Ranked(rank, n_ranked, top, candidate=rank)


def _ranked(queries: Queries, scores: Scores) -> tuple[Ints, Ints, Ints]:
    rankable, target = queries.rankable, queries.target
    at = np.arange(len(queries))
    scores = np.where(rankable, scores, -np.inf)
    own = scores[at, target][:, None]
    is_first = np.arange(scores.shape[1])[None, :] < target[:, None]
    above = (scores > own) | ((scores == own) & is_first)
    rank = np.where(rankable[at, target], 1 + (above & rankable).sum(axis=1), 0)
    n_ranked = rankable.sum(axis=1)
    top = np.full((len(queries), TOP), -1)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :TOP]
    top[:, : best.shape[1]] = best
    top[np.arange(TOP)[None, :] >= n_ranked[:, None]] = -1
    return rank, n_ranked, top
