"""One call to a recommender, and the answer to it."""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from intake.event import Event
from intake.variety_settings import Variety
from serving.answers import (
    QUERY_NOT_ENCODED,
    Detail,
    RankedItem,
    Recommendations,
    UserKind,
    detail_of,
)
from serving.asking import RecommendOptions
from serving.catalogue import Catalogue
from serving.catalogue_watch import CatalogueWatch, Clock
from serving.query import Query, read_query
from serving.request_context import NO_WEIGHTS, NOTHING, Context
from serving.variety.spread import require_columns
from serving.vector_index import Vectors
from serving.visit import visit_events
from transformations.embedder import Embedder


@dataclass(frozen=True)
class Request:
    """One call, and the catalogue that answers it from beginning to end.

    Attributes
    ----------
    failures : what the answer lacks until now
    started : of the performance counter, seconds
    model : the version that answers
    passing : (n,) catalogue rows that may come back, None for all
    objective : by name what the order serves, in place of what the data set says, see `Ranking`
    variety : how the answer is spread
    name : of the request, by which what is drawn for it can be drawn again
    visit : events of the user's visit, which are kept nowhere
    """

    user_id: str
    now: datetime
    catalogue: Catalogue
    query: Query | None
    failures: list[str]
    detail: Detail
    started: float
    context: Context
    model: str | None
    passing: NDArray[np.bool_] | None
    objective: Mapping[str, float]
    variety: Variety
    name: str
    visit: Sequence[Event]

    @property
    def likeness(self) -> Vectors | None:
        """(n,) how near each row of the catalogue is to the query, None without one."""
        return None if self.query is None else self.query.likeness

    def answer(
        self,
        items: list[RankedItem],
        n_candidates: int,
        user: UserKind,
        portrait: str | None = None,
        *,
        is_ranked: bool = True,
    ) -> Recommendations:
        """The answer to this call, as late as it is now.

        Parameters
        ----------
        is_ranked : False where popularity stands in for the ranker
        """
        return Recommendations(
            user_id=self.user_id,
            items=items,
            n_candidates=n_candidates,
            user=user,
            degraded=bool(self.failures),
            reasons=tuple(self.failures),
            latency_ms=(time.perf_counter() - self.started) * 1000,
            portrait=portrait,
            model=self.model,
            understood=() if self.query is None else self.query.understood,
            is_chance=is_ranked and self.query is None and not self.objective,
        )


class Requests:
    """Begins the requests of one recommender.

    Parameters
    ----------
    variety : of answers, where a call does not say otherwise
    model : the version that answers
    """

    def __init__(
        self,
        watch: CatalogueWatch,
        embedder: Embedder,
        variety: Variety,
        clock: Clock,
        model: str | None,
    ) -> None:
        self._watch, self._embedder = watch, embedder
        self._variety, self._clock, self._model = variety, clock, model

    def begin(
        self, user_id: str, *, is_encoded: bool = True, **asked: Unpack[RecommendOptions]
    ) -> Request:
        """A call as it comes in; errors are those of `Recommender.recommend`.

        Parameters
        ----------
        is_encoded : False to go by the words of the query alone
        """
        started, failures = time.perf_counter(), []
        catalogue, now = self._watch.current, self._clock()
        text = asked.get("query")
        query = read_query(catalogue, self._embedder, text, is_encoded=is_encoded)
        if query is not None and not query.is_whole:
            failures.append(QUERY_NOT_ENCODED)
        variety = self._variety.asked(asked.get("variety", NOTHING))
        require_columns(catalogue.columns, variety)
        return Request(
            user_id=user_id,
            now=now,
            catalogue=catalogue,
            query=query,
            failures=failures,
            detail=detail_of(explain=asked.get("explain", False), debug=asked.get("debug", False)),
            started=started,
            context=asked.get("context", NOTHING),
            model=self._model,
            passing=catalogue.passing(asked.get("filter"), now),
            objective=asked.get("objective", NO_WEIGHTS),
            variety=variety,
            name=asked.get("request_id") or uuid.uuid4().hex,
            visit=visit_events(user_id, asked.get("session", ()), now),
        )
