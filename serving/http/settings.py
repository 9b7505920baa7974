"""What an operator can set of the service: capacity, deadlines, limits of a request, access."""

import os
import resource
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr

_Positive = Annotated[int, Field(gt=0)]
_DeadlineMs = Annotated[int, Field(gt=0, le=600_000)]


def _cores() -> int:
    """Cores this process may use: ranking is CPU work, more threads only wait for each other."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(4, usable or 1)


def _connections() -> int:
    """Half of the files that this process may open: the others are for data."""
    return min(4096, max(64, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2))


class ServiceSettings(BaseModel):
    """Settings of one service process; the defaults suit one machine.

    Attributes
    ----------
    rank_threads : threads for recommend, rank and similar, which compute
    event_threads : threads for events, which wait for the disk
    max_concurrency : requests of a kind in flight, running and waiting; one more is answered 429.
        Kinds are events, embeddings, and all others
    max_connections : open connections; for one more, the one that waits longest gives way
    head_timeout_ms, write_timeout_ms : a connection is closed whose request's head is not whole, or
        whose answer is not read, by then
    deadline_ms, embedding_deadline_ms, event_deadline_ms : from the arrival of the whole request
        to the answer, waiting included; then 503, or for recommendations and rankings an answer
        by popularity. Events that are being written by then are waited for
    queue_ms : a recommendation or ranking that has not begun by then is answered by popularity,
        from memory and flagged
    max_body_bytes : a larger body is answered 413 before it is read to the end
    body_timeout_ms : a slower body is answered 408
    allowed_hosts : names that a request may call this service by; None for any
    api_key : asked of every request but the health checks, the documentation and the files of the
        page; None asks nobody
    docs : whether /docs and /openapi.json exist; they need no key, for they hold nothing secret
    log_requests : whether each request leaves a line in the log
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank_threads: _Positive = Field(default_factory=_cores)
    event_threads: _Positive = 16
    max_concurrency: _Positive = 512
    max_connections: _Positive = Field(default_factory=_connections)
    head_timeout_ms: _DeadlineMs = 10_000
    write_timeout_ms: _DeadlineMs = 10_000
    deadline_ms: _DeadlineMs = 1_000
    queue_ms: _DeadlineMs = 400
    embedding_deadline_ms: _DeadlineMs = 30_000
    event_deadline_ms: _DeadlineMs = 5_000
    max_body_bytes: _Positive = 1 << 20
    body_timeout_ms: _DeadlineMs = 10_000
    allowed_hosts: tuple[str, ...] | None = None
    api_key: SecretStr | None = None
    docs: bool = True
    log_requests: bool = True
