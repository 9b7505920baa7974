"""What the service says where it does not answer, and whether asking again can help."""

from collections.abc import Mapping
from typing import Any

from feast_fusion.backoff import backoff_s
from feast_fusion.errors import FeastFusionError

_TRY_AGAIN = (429, 502, 503, 504)
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 5.0


class ServiceError(FeastFusionError):
    """The service refused a request.

    Attributes
    ----------
    status : of HTTP
    detail : what was got, what was expected, and the remedy
    request_id : under which the service's log has the request
    errors : by part of the request, where that is at fault
    """

    def __init__(self, status: int, detail: str, request_id: str, errors: list[Any]) -> None:
        super().__init__(f"{status}: {detail} (request {request_id})")
        self.status, self.detail = status, detail
        self.request_id, self.errors = request_id, errors

    @classmethod
    def of(cls, status: int, headers: Mapping[str, str], body: Any) -> "ServiceError":
        """Of an answer; `body` is its JSON, None where it has none, as a proxy's."""
        said = body if isinstance(body, dict) else {}
        detail = str(said.get("detail", "no answer of feast-fusion, expected one"))
        request_id = str(said.get("request_id", headers.get("x-request-id", "")))
        return cls(status, detail, request_id, said.get("errors") or [])

    @property
    def may_pass(self) -> bool:
        """Whether the same request may be answered later."""
        return self.status in _TRY_AGAIN


def wait_s(attempt: int, retry_after: str | None) -> float:
    """Seconds after the failed attempt `attempt`, see `backoff_s`."""
    return backoff_s(attempt, retry_after, first_s=_FIRST_WAIT_S, longest_s=_LONGEST_WAIT_S)
