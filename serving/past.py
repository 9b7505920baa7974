"""What would have been answered at an instant, from history alone: the same search, the same order.

A service that had stopped at that instant would have given the same answer. The evaluation asks
here, so what is measured is what is served.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Unpack

import numpy as np
import pyarrow as pa
from feast import FeatureStore

from feast_fusion.parquet.whole import read_parquet
from feast_fusion.times import TIMESTAMP, from_micros, to_micros
from feast_fusion.training_set import TrainingSet
from intake.context import context_column
from intake.event_types import objectives_of
from intake.variety_settings import Variety
from intake.workspace import Workspace
from serving.answers import MODEL_FROM_LATER, Detail, Recommendations, detail_of
from serving.asking import PastOptions
from serving.candidates import Candidates, Search
from serving.catalogue import Catalogue, catalogue_changes, load_catalogue
from serving.past_slate import PastSlate, encode_rows, kind_of
from serving.portraits import Portraits
from serving.query import Query
from serving.ranking import Ranking, list_items
from serving.request_context import NOTHING, Context
from serving.variety.spread import require_columns
from serving.vector_index import Rows, Vectors
from training.ranker.artifact import Artifact
from training.ranker.columns import Numbers
from training.ranker.request_features import RequestEncoder
from training.retrieval import build_rows_of, build_training_set
from transformations import names
from transformations.collaborative.histories import Flags, Histories, Ints

# Requests whose candidates are retrieved together: 100,000 rows at 500 candidates each.
_TOGETHER = 200

ReadQuery = Callable[[Catalogue], Query | None]


@dataclass(frozen=True)
class PastAnswer:
    """One answer, and where every item of the catalogue stood.

    Attributes
    ----------
    number : which of the requests it answers
    candidates : catalogue rows by the merged signals, the best first; the first ones were ranked
    order : catalogue rows of the answer's order, of which the answer has the first
    signals : (f, n) what spoke for each row of the catalogue, by the names of its scorer
    speaking : (f,) which of the signals say something of the user
    history : of the user
    scores, liked, values : (m,) of the m that were ranked, the first of `order`; see `Ordered`
    """

    answer: Recommendations
    catalogue: Catalogue
    candidates: Rows
    order: Rows
    signals: Vectors
    speaking: Flags
    history: Histories | None
    scores: Vectors
    liked: Vectors
    values: Numbers
    number: int = 0


@dataclass(frozen=True)
class _Asked:
    """What the answers to some requests are to be like."""

    n: int
    query: ReadQuery
    filter: str | None
    detail: Detail
    variety: Variety


def without_query(_: Catalogue) -> None:
    """Nothing is asked for."""


class PastRecommender:
    """Answers for instants of the past, with an artifact that should not be younger than they are.

    It reads the service of the artifact's encoder.
    """

    def __init__(self, workspace: Workspace, store: FeatureStore, artifact: Artifact) -> None:
        settings = workspace.dataset.candidates
        self._workspace, self._store = workspace, store
        self._service = names.ranker_service(artifact.encoder_id)
        self._artifact = artifact
        self._fitted_until = artifact.require_next_item().fitted_until
        outcomes = objectives_of(workspace.dataset.interactions.types)
        self._ranking = Ranking(artifact, workspace.dataset.ranker, outcomes)
        self._depth, self._repeats = settings.depth, settings.repeats
        self._variety = workspace.dataset.variety
        self._encoder = RequestEncoder(artifact.features)
        self._changes = catalogue_changes(workspace, artifact.encoder_id)
        # Several questions of one instant have the same catalogue.
        self._catalogue_at = lru_cache(maxsize=1)(self._load_catalogue)

    def recommend(
        self,
        user_id: str,
        at: datetime,
        n: int = 10,
        *,
        query: ReadQuery = without_query,
        context: Context = NOTHING,
        **asked: Unpack[PastOptions],
    ) -> Recommendations:
        """What `Recommender.recommend` would have answered at an instant."""
        spine = pa.table({"user_id": [user_id], "event_timestamp": pa.array([at], TIMESTAMP)})
        columns = self._workspace.dataset.interactions.context
        for name, column in columns.columns([context]).items():
            spine = spine.append_column(context_column(name), column)
        answer = next(self.answers(spine, n, query=query, **asked)).answer
        is_told = asked.get("explain") or asked.get("debug")
        portrait = Portraits(self._store).as_of(user_id, at) if is_told else None
        return replace(answer, portrait=portrait)

    def _load_catalogue(self, at_us: int) -> Catalogue:
        model, at = self._artifact.require_next_item(), from_micros(at_us)
        return load_catalogue(self._workspace, self._store, self._service, model, at)

    def contexts(self, rows: Ints) -> pa.Table:
        """`context__...` of the prepared events in these rows, as their requests had it."""
        path = self._workspace.source(names.INTERACTIONS)
        columns = self._workspace.dataset.interactions.context.given
        table = read_parquet(path, [*map(context_column, columns)])
        return table.take(pa.array(rows)) if columns else table.select([])

    def answers(
        self,
        requests: pa.Table,
        n: int = 10,
        *,
        query: ReadQuery = without_query,
        **asked: Unpack[PastOptions],
    ) -> Iterator[PastAnswer]:
        """The answer to each request, in the order of time.

        Parameters
        ----------
        requests : user_id, event_timestamp and what is known of the context, `context__...`
        """
        detail = detail_of(explain=asked.get("explain", False), debug=asked.get("debug", False))
        variety = self._variety.asked(asked.get("variety", NOTHING))
        told = _Asked(n, query, asked.get("filter"), detail, variety)
        number = pa.array(np.arange(len(requests)))
        requests = requests.append_column("number", number)
        requests = requests.sort_by([("event_timestamp", "ascending"), ("number", "ascending")])
        times = requests["event_timestamp"].cast(TIMESTAMP).cast(pa.int64()).to_numpy()
        epochs = np.searchsorted(self._changes, times, side="right")
        for epoch in np.unique(epochs).tolist():
            rows = np.flatnonzero(epochs == epoch)
            catalogue = self._catalogue_at(int(times[rows[-1]]))
            for start in range(0, len(rows), _TOGETHER):
                part = requests.take(pa.array(rows[start : start + _TOGETHER]))
                yield from self._answer(catalogue, part, told)

    def _with_clock(self, users: TrainingSet) -> TrainingSet:
        table, columns = users.table, self._workspace.dataset.interactions.context
        for name, column in columns.clock_columns(table["event_timestamp"]).items():
            table = table.append_column(context_column(name), column)
        return TrainingSet(table, users.vectors, users.lists)

    def _answer(
        self, catalogue: Catalogue, requests: pa.Table, asked: _Asked
    ) -> Iterator[PastAnswer]:
        require_columns(catalogue.columns, asked.variety)
        started = time.perf_counter()
        users = build_rows_of(self._store, self._service, requests.drop(["number"]))
        users = self._with_clock(users)
        ids, times = (requests[name].to_pylist() for name in ("user_id", "event_timestamp"))
        numbers = requests["number"].to_pylist()
        query = asked.query(catalogue)
        likeness = None if query is None else query.likeness
        searches, found = [], []
        for at, (user_id, now) in enumerate(zip(ids, times, strict=True)):
            seen = () if self._repeats else catalogue.seen.of(user_id, now)
            user, passing = users.take(np.array([at])), catalogue.passing(asked.filter, now)
            search = Search.of(catalogue, user, [seen], likeness, passing)
            searches.append(search)
            found.append(search.best(max(asked.n, self._depth)))
        joined = self._join(ids, times, found)
        items = encode_rows(self._encoder, joined)  # at once: a tenth of the time of one by one
        encoded = self._encoder.encode_users(users)
        ends = np.cumsum([len(each) for each in found])
        each_ms = (time.perf_counter() - started) * 1000 / max(1, len(found))
        for at, end in enumerate(ends.tolist()):
            rows = np.arange(end - len(found[at]), end)
            slate = PastSlate(
                users.take(np.array([at])),
                encoded[at],
                joined,
                rows,
                items.take(rows),
                times[at],
                self._encoder,
            )
            past = self._rank(searches[at], found[at], slate, asked, each_ms)
            answer = replace(past.answer, understood=query.understood if query else ())
            yield replace(past, number=numbers[at], answer=answer)

    def _join(
        self, ids: Sequence[str], times: Sequence[datetime], found: Sequence[Candidates]
    ) -> TrainingSet:
        """The features of every candidate of every request, one after the other."""
        lengths = [len(each) for each in found]
        at = np.repeat(np.arange(len(found)), lengths)
        spine = pa.table(
            {
                "user_id": pa.array(ids).take(at),
                "item_id": pa.array(
                    [item for each in found for item in each.item_ids], pa.string()
                ),
                "event_timestamp": pa.array(times, TIMESTAMP).take(at),
            }
        )
        return build_training_set(self._store, self._service, spine)

    def _rank(
        self,
        search: Search,
        candidates: Candidates,
        slate: PastSlate,
        asked: _Asked,
        each_ms: float,
    ) -> PastAnswer:
        started = time.perf_counter()
        is_later = self._fitted_until >= to_micros(slate.now)
        catalogue = search.catalogue
        ranked = self._ranking.order(catalogue, candidates, slate)
        tried = ranked.best(catalogue, candidates, asked.variety, asked.n)
        items = list_items(catalogue, candidates, slate, ranked, tried, asked.detail)
        places = np.append(tried.best, ranked.order[~np.isin(ranked.order, tried.best)])
        answer = Recommendations(
            user_id=slate.user.table["user_id"][0].as_py(),
            items=items,
            n_candidates=len(candidates),
            user=kind_of(slate.user),
            degraded=is_later,
            reasons=(MODEL_FROM_LATER,) if is_later else (),
            latency_ms=each_ms + (time.perf_counter() - started) * 1000,
            model=self._artifact.version,
            is_chance=candidates.query is None,
        )
        order = search.order()
        first = candidates.rows[places]
        rest = order[~np.isin(order, first)]
        return PastAnswer(
            answer,
            catalogue,
            order,
            np.concatenate([first, rest]),
            search.signals,
            candidates.speaking,
            candidates.history,
            ranked.scores[places],
            ranked.liked[places],
            ranked.values[places],
        )
