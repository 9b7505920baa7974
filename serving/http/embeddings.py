"""Vectors in the shape of OpenAI's embeddings API, so that its clients work unchanged."""

import base64
from collections.abc import Callable
from typing import Literal

import numpy as np
from pydantic import BaseModel, Field
from pydantic_core import to_json

from feast_fusion.encoding.vector_cache import Vectors
from serving.http.problems import ProblemError
from serving.http.requests import EmbeddingsRequest
from transformations.embedder import Embedder


class Embedding(BaseModel):
    """One vector: numbers, or the base64 of little-endian float32."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """Tokens read; an encoder writes none."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(BaseModel):
    """Vectors in the order of the inputs."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str = Field(description="The encoder's id; vectors of two ids must never meet.")
    usage: Usage


class Model(BaseModel):
    """An encoder, by one of its names."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="0: it is named by what it computes, not by when.")
    owned_by: str


class Models(BaseModel):
    """The names of the one encoder."""

    object: Literal["list"] = "list"
    data: list[Model]


class TextEncoding:
    """The encoder of a data set as /v1/embeddings needs it.

    embedder : gives the embedder of now
    """

    def __init__(self, embedder: Callable[[], Embedder]) -> None:
        self._embedder = embedder

    def require(self, request: EmbeddingsRequest) -> None:
        """End a request for another model, whose vectors would not compare, or for more numbers.

        Raises
        ------
        ProblemError
            404 for another model, 422 for a width that it does not have.
        """
        _require(request, self._embedder())

    def models(self) -> bytes:
        """The body of the answer that names the encoder."""
        names = _names(self._embedder())
        found = [Model(id=name, created=0, owned_by="feast-fusion") for name in names]
        return to_json(Models(data=found))

    def answer(self, request: EmbeddingsRequest, wait_s: float) -> bytes:
        """The body of the answer.

        Parameters
        ----------
        wait_s : until nobody waits for it any longer

        Raises
        ------
        ProblemError
            As `require`; 422 for a text that is empty once it is cleaned.
        StoreUnavailableError
            Too many texts wait, or these have waited for too long.
        """
        embedder = self._embedder()
        _require(request, embedder)  # it may be another one since `require`
        n_tokens = embedder.count_tokens(request.texts)
        data = [
            {"object": "embedding", "index": at, "embedding": _encoded(vector, request)}
            for at, vector in enumerate(_vectors(embedder, request, wait_s))
        ]
        usage = {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
        model = embedder.identity.encoder_id
        return to_json({"object": "list", "data": data, "model": model, "usage": usage})


def _require(request: EmbeddingsRequest, embedder: Embedder) -> None:
    names, width = _names(embedder), embedder.identity.dimension
    if request.model not in (None, *names):
        raise ProblemError(404, f"model: got another one, expected {' or '.join(names)}, or none.")
    if not 1 <= (request.dimensions or width) <= width:
        raise ProblemError(422, f"dimensions: got another number, expected 1 to {width}.")


def _names(embedder: Embedder) -> list[str]:
    """Of the encoder: in full, without its owner, and by what it computes."""
    full = embedder.settings.model
    return list(dict.fromkeys([full, full.rpartition("/")[2], embedder.identity.encoder_id]))


def _vectors(embedder: Embedder, request: EmbeddingsRequest, wait_s: float) -> Vectors:
    texts = request.texts
    vectors, present = embedder.queries(texts, wait_s)
    absent = np.flatnonzero(~present)
    if len(absent):
        raise ProblemError(
            422,
            f"input: got text {absent[0]} of {len(texts)}, empty without markup and invisible "
            "characters, expected words. Leave it out.",
        )
    if request.dimensions in (None, vectors.shape[1]):
        return vectors
    cut: Vectors = vectors[:, : request.dimensions].copy()
    cut /= np.maximum(np.linalg.norm(cut, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return cut


def _encoded(vector: Vectors, request: EmbeddingsRequest) -> list[float] | str:
    if request.encoding_format == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
    numbers: list[float] = vector.tolist()
    return numbers
