"""What both clients tell the HTTP library, and what they make of its answers."""

from collections.abc import Mapping
from typing import Any

from feast_fusion.client.calls import Call, ReplyT
from feast_fusion.client.refusal import ServiceError
from feast_fusion.errors import StoreUnavailableError, extra_required

with extra_required("client"):
    import httpx2


def options(url: str, api_key: str | None, timeout_s: float) -> dict[str, Any]:
    """Of a client of httpx."""
    headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
    return {"base_url": url, "headers": headers, "timeout": timeout_s}


def named(request_id: str | None) -> Mapping[str, str]:
    """The headers of a request that has a name in the service's log."""
    return {} if request_id is None else {"X-Request-ID": request_id}


def read(call: Call[ReplyT], answer: httpx2.Response) -> ReplyT | ServiceError:
    """The reply of an answer, or what it refuses."""
    if answer.status_code == httpx2.codes.OK:
        return call.reply.model_validate_json(answer.content)
    return refusal(answer)


def refusal(answer: httpx2.Response) -> ServiceError:
    """What an answer that is none says."""
    try:
        body = answer.json()
    except ValueError:
        body = None
    return ServiceError.of(answer.status_code, answer.headers, body)


def away(url: str, error: httpx2.TransportError) -> StoreUnavailableError:
    """That nobody answered."""
    said = str(error) or type(error).__name__
    return StoreUnavailableError(
        f"{url}: got no answer ({said}), expected one of feast-fusion serve. Start it, or give "
        "the address where it listens."
    )
