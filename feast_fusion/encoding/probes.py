"""A few texts by whose vectors an encoder is tried when it is opened."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from feast_fusion.errors import schema_error

# Short and long, so that a batch of them has padding; several scripts, so that a vocabulary of one
# language knows a word; single words first, which a wrong vocabulary cannot tell apart.
PROBES = (
    "garden",
    "seven",
    "алмаз",
    "星",
    "a 😀 👩‍👩‍👧",
    "فيلم عن الحب والحرب",
    "Heat (1995). Genres: Action, Crime, Thriller. With Al Pacino and Robert De Niro.",
    "liked Alien; Blade Runner; The Thing. disliked Jaws.",
    "Stainless steel bottle, 750 ml, keeps drinks cold for 24 hours. " * 3,
    "A quiet town, an old library and the letters that nobody ever sent: a novel about memory, "
    "friendship and the price of silence, told over forty years by three generations. " * 2,
)
_N_WORDS = 4
_SAME = 1 - 1e-6

Encode = Callable[[list[str]], NDArray[np.float32]]


def probe(encode: Encode) -> NDArray[np.float32]:
    """(p, d) vectors of the probes, each encoded alone."""
    return np.concatenate([encode([text]) for text in PROBES])


def require_distinct(vectors: NDArray[np.float32], model: object) -> None:
    """Refuse an encoder that gives different words one vector.

    Raises
    ------
    SchemaError
        It does: its tokenizer knows none of them, or its weights say nothing.
    """
    words = vectors[:_N_WORDS]
    if (words @ words[0]).min() > _SAME:
        raise schema_error(
            f"model {model}",
            got=f"one vector for {', '.join(PROBES[:_N_WORDS])}",
            expected="different texts to have different vectors",
            remedy="Its tokenizer files are not those of its weights: fetch the model again.",
        )
