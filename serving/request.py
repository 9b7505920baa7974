"""One call to a recommender, and the answer to it."""

import time
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from serving.answers import RankedItem, Recommendations, UserKind
from serving.catalogue import Catalogue
from serving.query import Query
from serving.request_context import Context


@dataclass(frozen=True)
class Request:
    """One call, and the catalogue that answers it from beginning to end.

    Attributes
    ----------
    failures : what the answer lacks until now
    started : of the performance counter, seconds
    model : the version that answers
    passing : (n,) catalogue rows that may come back, None for all
    """

    user_id: str
    now: datetime
    catalogue: Catalogue
    query: Query | None
    failures: list[str]
    explain: bool
    started: float
    context: Context
    model: str | None
    passing: NDArray[np.bool_] | None

    def answer(
        self,
        items: list[RankedItem],
        n_candidates: int,
        user: UserKind,
        portrait: str | None = None,
    ) -> Recommendations:
        """The answer to this call, as late as it is now."""
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
        )
