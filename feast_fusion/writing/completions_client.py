"""Requests in OpenAI's chat-completions form: retried, their answers checked."""

import logging
import os
import threading
import time
from typing import Any

from feast_fusion.errors import StoreUnavailableError, extra_required, schema_error
from feast_fusion.writing.attributes import Attributes
from feast_fusion.writing.model_place import ChatServer
from feast_fusion.writing.writer import Written

with extra_required("writer"):
    import requests

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_TRY_AGAIN = (408, 409, 425, 429, 500, 502, 503, 504)
_KEY_REFUSED = (401, 403)

_log = logging.getLogger(__name__)


class CompletionsClient:
    """Asks one server. Safe for many threads.

    Raises
    ------
    StoreUnavailableError
        The environment variable of the key has no value.
    """

    def __init__(self, server: ChatServer, attributes: Attributes) -> None:
        self._server = server
        self._url = f"{server.url.rstrip('/')}/chat/completions"
        self._headers = _headers(server)
        self._sessions = threading.local()
        self._body = {"model": server.name, "temperature": 0}
        self._body |= {"max_tokens": 64 + 16 * sum(attributes.words.values())}
        if server.json_schema:
            form = {"name": "attributes", "strict": True, "schema": attributes.json_schema()}
            self._body["response_format"] = {"type": "json_schema", "json_schema": form}

    def complete(self, prompt: str) -> Written:
        """The server's answer to one prompt.

        Raises
        ------
        StoreUnavailableError
            No answer after all attempts, or the request or its key is refused.
        SchemaError
            The answer has another form.
        """
        why = ""
        for attempt in range(self._server.n_attempts):
            try:
                answer = self._post(prompt)
            except requests.RequestException as error:
                why, asked_s = type(error).__name__, None
            else:
                if answer.status_code not in _TRY_AGAIN:
                    return self._read(answer)
                why, asked_s = f"status {answer.status_code}", answer.headers.get("Retry-After")
            if attempt + 1 < self._server.n_attempts:
                wait_s = _wait_s(attempt, asked_s)
                _log.info("%s: %s; asked again in %.1f s.", self._url, why, wait_s)
                time.sleep(wait_s)
        raise StoreUnavailableError(
            f"{self._url}: got {why} in {self._server.n_attempts} attempts, expected an answer of "
            f"{self._server.name}. Start the server or correct [writer.server]; what was written "
            "before is kept, so run the same again."
        )

    def _post(self, prompt: str) -> requests.Response:
        if not hasattr(self._sessions, "session"):
            self._sessions.session = requests.Session()
        session: requests.Session = self._sessions.session
        body = self._body | {"messages": [{"role": "user", "content": prompt}]}
        return session.post(
            self._url, json=body, headers=self._headers, timeout=self._server.timeout_s
        )

    def _read(self, answer: requests.Response) -> Written:
        if answer.status_code in _KEY_REFUSED:
            variable = self._server.api_key_variable or "none is named in api_key_variable"
            raise StoreUnavailableError(
                f"{self._url}: got status {answer.status_code}, expected the key to be accepted. "
                f"Correct the environment variable of the key ({variable})."
            )
        if answer.status_code != 200:
            raise StoreUnavailableError(
                f"{self._url}: got status {answer.status_code} ({answer.text[:200]!r}), expected "
                f"an answer of {self._server.name}. Correct url and model; a server that knows no "
                "response_format needs [writer.server] json_schema = false."
            )
        try:
            body: dict[str, Any] = answer.json()
            text = body["choices"][0]["message"]["content"] or ""
            usage = body.get("usage") or {}
            read, written = (int(usage.get(f"{k}_tokens") or 0) for k in ("prompt", "completion"))
            return Written(str(text), read, written)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise schema_error(
                self._url,
                got=f"{answer.text[:100]!r}",
                expected='{"choices": [{"message": {"content": "..."}}]}',
                remedy="Use a server with OpenAI's chat-completions form.",
            ) from error


def _wait_s(attempt: int, asked_s: str | None) -> float:
    """Before the next attempt: as the server asks, else twice as long each time."""
    if asked_s is not None and asked_s.isdigit():
        return min(float(asked_s), _LONGEST_WAIT_S)
    return float(min(_FIRST_WAIT_S * 2**attempt, _LONGEST_WAIT_S))


def _headers(server: ChatServer) -> dict[str, str]:
    if server.api_key_variable is None:
        return {}
    key = os.environ.get(server.api_key_variable)
    if not key:
        raise StoreUnavailableError(
            f"[writer.server] api_key_variable: got no value in {server.api_key_variable}, "
            "expected the key of the server. Export it in this shell."
        )
    return {"Authorization": f"Bearer {key}"}
