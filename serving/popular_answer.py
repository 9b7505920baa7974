"""The answer where nothing can be ranked: by popularity, from memory, and flagged."""

import logging
import math
import time

from feast_fusion.errors import StoreUnavailableError
from serving.answers import Recommendations, UserKind
from serving.candidates import Candidates
from serving.ranking import rank_by_popularity
from serving.request import Request

_log = logging.getLogger(__name__)

_WARN_EVERY_S = 10.0


def answer_by_popularity(
    request: Request, candidates: Candidates, n: int, reason: str
) -> Recommendations:
    """The `n` most popular candidates, and why there is no better order."""
    request.failures.append(reason)
    items = rank_by_popularity(
        request.catalogue, candidates, n, request.variety, explain=request.detail != "none"
    )
    is_known = request.user_id in request.catalogue.seen.users
    user: UserKind = "known" if is_known else "unknown"
    return request.answer(items, len(candidates), user, is_ranked=False)


class OutageLog:
    """Logs that the online store is away, but not for each of the thousands of answers then."""

    def __init__(self) -> None:
        self._again_at = -math.inf

    def note(self, error: StoreUnavailableError) -> None:
        """One answer was made without the store."""
        now = time.monotonic()
        if now >= self._again_at:
            self._again_at = now + _WARN_EVERY_S
            _log.warning("online store: answering by popularity: %s", error)
