"""A server with one of OpenAI's forms: asked with its key, and again where that can help."""

import logging
import os
import threading
import time
from collections.abc import Mapping
from typing import Any

import requests

from feast_fusion.backoff import backoff_s
from feast_fusion.errors import StoreUnavailableError
from feast_fusion.served_model import ServedModel

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_TRY_AGAIN = (408, 409, 425, 429, 500, 502, 503, 504)
_KEY_REFUSED = (401, 403)

_log = logging.getLogger(__name__)


class OpenAIServer:
    """One address of a server. Safe for many threads.

    Parameters
    ----------
    model : where it is, and how it is asked
    path : of the form, such as "embeddings"
    section : of dataset.toml that describes the server, for messages

    Raises
    ------
    StoreUnavailableError
        The environment variable of the key has no value.
    """

    def __init__(self, model: ServedModel, path: str, section: str) -> None:
        self.url = f"{model.url.rstrip('/')}/{path}"
        self._section = section
        self._key_variable = model.api_key_variable
        self._headers = _headers(section, model.api_key_variable)
        self._timeout_s, self._n_attempts = model.timeout_s, model.n_attempts
        self._sessions = threading.local()
        self._pace = _Pace(model.requests_per_s)

    def ask(self, body: Mapping[str, Any], expected: str) -> requests.Response:
        """The answer to `body`, whatever its status, but for those that may change by themselves.

        Parameters
        ----------
        expected : what the answer should be, for messages

        Raises
        ------
        StoreUnavailableError
            No answer after all attempts, or the key is refused.
        """
        why = ""
        for attempt in range(self._n_attempts):
            self._pace.wait()
            try:
                answer = self._post(body)
            except requests.RequestException as error:
                why, asked_s = type(error).__name__, None
            else:
                if answer.status_code in _KEY_REFUSED:
                    raise self._refused(answer.status_code)
                if answer.status_code not in _TRY_AGAIN:
                    return answer
                why, asked_s = f"status {answer.status_code}", answer.headers.get("Retry-After")
            if attempt + 1 < self._n_attempts:
                wait_s = backoff_s(
                    attempt, asked_s, first_s=_FIRST_WAIT_S, longest_s=_LONGEST_WAIT_S
                )
                _log.info("%s: %s; asked again in %.1f s.", self.url, why, wait_s)
                time.sleep(wait_s)
        raise StoreUnavailableError(
            f"{self.url}: got {why} in {self._n_attempts} attempts, expected {expected}. Start "
            f"the server or correct {self._section}; what was answered before is kept, so run "
            "the same again."
        )

    def _post(self, body: Mapping[str, Any]) -> requests.Response:
        if not hasattr(self._sessions, "session"):
            self._sessions.session = requests.Session()
        session: requests.Session = self._sessions.session
        return session.post(self.url, json=body, headers=self._headers, timeout=self._timeout_s)

    def _refused(self, status: int) -> StoreUnavailableError:
        variable = self._key_variable or "none is named in api_key_variable"
        return StoreUnavailableError(
            f"{self.url}: got status {status}, expected the key to be accepted. "
            f"Correct the environment variable of the key ({variable})."
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


def _headers(section: str, key_variable: str | None) -> dict[str, str]:
    if key_variable is None:
        return {}
    key = os.environ.get(key_variable)
    if not key:
        raise StoreUnavailableError(
            f"{section} api_key_variable: got no value in {key_variable}, "
            "expected the key of the server. Export it in this shell."
        )
    return {"Authorization": f"Bearer {key}"}
