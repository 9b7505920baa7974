"""Requests in OpenAI's embeddings form: retried, rate-limited, their answers checked."""

import logging
import os
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import requests
from numpy.typing import NDArray

from feast_fusion.encoding.remote_model import RemoteModel
from feast_fusion.errors import SchemaError, StoreUnavailableError, schema_error

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_TRY_AGAIN = (408, 409, 425, 429, 500, 502, 503, 504)
_KEY_REFUSED = (401, 403)
_TOO_MUCH = (400, 413, 422)  # servers disagree on how to say that a request is too large

_log = logging.getLogger(__name__)


class RequestTooLargeError(SchemaError):
    """The server refuses a request for its content: too many texts, or a text too long."""


class EmbeddingsClient:
    """Asks one server. Safe for many threads."""

    def __init__(self, model: RemoteModel) -> None:
        self._model = model
        self._url = f"{model.url.rstrip('/')}/embeddings"
        self._headers = _headers(model)
        self._sessions = threading.local()
        self._pace = _Pace(model.requests_per_s)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, D) vectors as the server gives them, in the order of `texts`.

        Raises
        ------
        StoreUnavailableError
            No answer after all attempts, or the key is refused.
        RequestTooLargeError
            The server refuses what was asked.
        SchemaError
            The answer is not one vector for each text.
        """
        why = ""
        for attempt in range(self._model.n_attempts):
            self._pace.wait()
            try:
                answer = self._post(texts)
            except requests.RequestException as error:
                why, asked_s = type(error).__name__, None
            else:
                if answer.status_code not in _TRY_AGAIN:
                    return self._read(answer, len(texts))
                why, asked_s = f"status {answer.status_code}", answer.headers.get("Retry-After")
            if attempt + 1 < self._model.n_attempts:
                wait_s = _wait_s(attempt, asked_s)
                _log.info("%s: %s; asked again in %.1f s.", self._url, why, wait_s)
                time.sleep(wait_s)
        raise StoreUnavailableError(
            f"{self._url}: got {why} in {self._model.n_attempts} attempts, expected vectors of "
            f"{self._model.name}. Start the server or correct [encoder.server]; what was encoded "
            "before is kept, so run the same again."
        )

    def _post(self, texts: Sequence[str]) -> requests.Response:
        if not hasattr(self._sessions, "session"):
            self._sessions.session = requests.Session()
        body = {"model": self._model.name, "input": list(texts), "encoding_format": "float"}
        session: requests.Session = self._sessions.session
        return session.post(
            self._url, json=body, headers=self._headers, timeout=self._model.timeout_s
        )

    def _read(self, answer: requests.Response, n: int) -> NDArray[np.float32]:
        if answer.status_code in _KEY_REFUSED:
            variable = self._model.api_key_variable or "none is named in api_key_variable"
            raise StoreUnavailableError(
                f"{self._url}: got status {answer.status_code}, expected the key to be accepted. "
                f"Correct the environment variable of the key ({variable})."
            )
        if answer.status_code in _TOO_MUCH:
            raise RequestTooLargeError(
                f"{self._url}: got status {answer.status_code} for {n} texts "
                f"({answer.text[:200]!r}), expected vectors. Lower [encoder] max_tokens or "
                "[encoder.server] texts_per_request."
            )
        if answer.status_code != 200:
            raise StoreUnavailableError(
                f"{self._url}: got status {answer.status_code}, expected vectors of "
                f"{self._model.name}. Correct url and model, as the server's description says."
            )
        return self._vectors(answer, n)

    def _vectors(self, answer: requests.Response, n: int) -> NDArray[np.float32]:
        try:
            data = sorted(answer.json()["data"], key=lambda one: one["index"])
            indices = [one["index"] for one in data]
            vectors = np.array([one["embedding"] for one in data], dtype=np.float32)
        except (ValueError, TypeError, KeyError) as error:
            raise self._odd(f"{answer.text[:100]!r}") from error
        if indices != list(range(n)) or vectors.ndim != 2:
            raise self._odd(f"vectors for {len(indices)} of {n} texts")
        if not np.isfinite(vectors).all():
            raise self._odd("numbers that are not finite")
        return vectors

    def _odd(self, got: str) -> Exception:
        return schema_error(
            self._url,
            got=got,
            expected='{"data": [{"index": 0, "embedding": [...]}, ...]} with one for each text',
            remedy="Use a server with OpenAI's embeddings form.",
        )


class _Pace:
    """Lets requests begin no faster than so many a second."""

    def __init__(self, per_s: float | None) -> None:
        self._gap_s = 1 / per_s if per_s else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when the next request may begin."""
        with self._lock:
            begins = max(time.monotonic(), self._next)
            self._next = begins + self._gap_s
        time.sleep(max(0.0, begins - time.monotonic()))


def _wait_s(attempt: int, asked_s: str | None) -> float:
    """Before the next attempt: as the server asks, else twice as long each time."""
    if asked_s is not None and asked_s.isdigit():
        return min(float(asked_s), _LONGEST_WAIT_S)
    return float(min(_FIRST_WAIT_S * 2**attempt, _LONGEST_WAIT_S))


def _headers(model: RemoteModel) -> dict[str, Any]:
    if model.api_key_variable is None:
        return {}
    key = os.environ.get(model.api_key_variable)
    if not key:
        raise StoreUnavailableError(
            f"[encoder.server] api_key_variable: got no value in {model.api_key_variable}, "
            "expected the key of the server. Export it in this shell."
        )
    return {"Authorization": f"Bearer {key}"}
