"""A model behind a server that speaks OpenAI's embeddings form. Imports no HTTP client."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feast_fusion.errors import EncoderMismatchError, schema_error
from feast_fusion.served_model import ServedModel

_SAME_COSINE = 0.999  # servers compute in half precision, otherwise in each batch
UNBOUNDED_TOKENS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class RemoteModel(ServedModel):
    """A server's model that computes vectors.

    Attributes
    ----------
    texts_per_request : the most texts in one request; halved where the server refuses as many
    """

    texts_per_request: int = 32


def require_remote_options(dimension: int | None, pooling: str | None) -> int:
    """The width of a server's vectors, which the user has to say: a name alone does not tell it.

    Raises
    ------
    SchemaError
        It is not said, or a pooling is, which the server chooses.
    """
    if dimension is None:
        raise schema_error(
            "[encoder] dimension",
            got="none with a server",
            expected="the numbers of a vector",
            remedy="Write it, as the model's description says; fewer are cut and normalised again.",
        )
    if pooling is not None:
        raise schema_error(
            "[encoder] pooling",
            got=f"{pooling} with a server",
            expected="none: the server pools",
            remedy="Leave it out.",
        )
    return dimension


def require_same_model(
    model: RemoteModel, before: NDArray[np.float32], now: NDArray[np.float32]
) -> None:
    """Refuse a server that gives the probes other vectors (p, d) than before.

    Raises
    ------
    EncoderMismatchError
        It does.
    """
    lowest = float((before * now).sum(axis=1).min())
    if lowest < _SAME_COSINE:
        raise EncoderMismatchError(
            f"{model.url} {model.name}: got other vectors than before (cosine {lowest:.3f}), "
            "expected those of the model that made the vectors in store. Restore the server's "
            'model, or name the new one in [encoder] model, as "name@2", to encode anew.'
        )
