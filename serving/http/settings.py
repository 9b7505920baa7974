"""What an operator can set of the service: capacity, deadlines, limits of a request, access."""

import os
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr

_Positive = Annotated[int, Field(gt=0)]
_DeadlineMs = Annotated[int, Field(gt=0, le=600_000)]


def _cores() -> int:
    """Cores this process may use: ranking is CPU work, more threads only wait for each other."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(4, usable or 1)


class ServiceSettings(BaseModel):
    """Settings of one service process; the defaults suit one machine.

    Attributes
    ----------
    rank_threads
        Threads for recommend, rank and similar, which compute.
    event_threads
        Threads for events, which wait for the disk.
    max_concurrency
        Requests in flight, running and waiting; the next one is answered 429.
    deadline_ms, embedding_deadline_ms, event_deadline_ms
        From the arrival of the whole request to the answer, waiting included; then 503, or
        for recommendations and rankings an answer by popularity.
    queue_ms
        A recommendation or ranking that could not begin by then is answered by popularity, from
        memory and flagged, as is one that is not done by `deadline_ms`.
    max_body_bytes
        Larger bodies are answered 413 before they are read to the end.
    body_timeout_ms
        A body that arrives slower is answered 408.
    api_key
        Asked of every request but the health checks and the documentation. None: nobody is asked.
    docs
        Whether /docs and /openapi.json exist. They need no key: they hold nothing secret.
    log_requests
        Whether each request leaves a line in the log.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank_threads: _Positive = Field(default_factory=_cores)
    event_threads: _Positive = 16
    max_concurrency: _Positive = 512
    deadline_ms: _DeadlineMs = 1_000
    queue_ms: _DeadlineMs = 400
    embedding_deadline_ms: _DeadlineMs = 30_000
    event_deadline_ms: _DeadlineMs = 5_000
    max_body_bytes: _Positive = 1 << 20
    body_timeout_ms: _DeadlineMs = 10_000
    api_key: SecretStr | None = None
    docs: bool = True
    log_requests: bool = True
