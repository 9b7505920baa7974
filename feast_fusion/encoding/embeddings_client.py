"""Requests in OpenAI's embeddings form, their answers checked."""

from collections.abc import Sequence

import numpy as np
import requests
from numpy.typing import NDArray

from feast_fusion.encoding.remote_model import RemoteModel
from feast_fusion.errors import SchemaError, StoreUnavailableError, schema_error
from feast_fusion.openai_server import OpenAIServer

_TOO_MUCH = (400, 413, 422)  # servers disagree on how to say that a request is too large


class RequestTooLargeError(SchemaError):
    """The server refuses a request for its content: too many texts, or a text too long."""


class EmbeddingsClient:
    """Asks one server. Safe for many threads."""

    def __init__(self, model: RemoteModel) -> None:
        self._model = model
        self._server = OpenAIServer(model, "embeddings", "[encoder.server]")
        self._url = self._server.url

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
        body = {"model": self._model.name, "input": list(texts), "encoding_format": "float"}
        answer = self._server.ask(body, f"vectors of {self._model.name}")
        return self._read(answer, len(texts))

    def _read(self, answer: requests.Response, n: int) -> NDArray[np.float32]:
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
            raise self._odd(f"{len(indices)} vectors for {n} texts, not one for each")
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
