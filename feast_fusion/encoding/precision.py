"""How precisely a model has to be computed on this machine, found by trying it when it is loaded.

Numbers of 8 significant bits (bfloat16) move some models' vectors, and move them otherwise in each
batch. A probe of texts decides.
"""

import logging
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from feast_fusion.errors import SchemaError, schema_error

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
_LOWEST_COSINE = 0.9999
_SAME = 1 - 1e-6

Encode = Callable[[list[str]], NDArray[np.float32]]

_log = logging.getLogger(__name__)


def fast_dtype(device: torch.device) -> torch.dtype:
    """The fastest numbers of a device."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    has = torch.cpu.get_capabilities()
    return torch.bfloat16 if has.get("avx512_bf16") or has.get("amx_bf16") else torch.float32


def probe(encode: Encode) -> NDArray[np.float32]:
    """(p, d) vectors of the probes, each encoded alone."""
    return np.concatenate([encode([text]) for text in PROBES])


def is_precise(encode: Encode, exact: NDArray[np.float32], encoder_id: str) -> bool:
    """Whether the probes' vectors are those in float32, alone and in a batch with padding."""
    try:
        found = np.concatenate([probe(encode), encode(list(PROBES))])
    except (RuntimeError, SchemaError) as error:  # an operation that lacks it, or it overflows
        _log.info("%s is computed in float32: %s", encoder_id, error)
        return False
    lowest = float((found * np.concatenate([exact, exact])).sum(axis=1).min())
    if lowest < _LOWEST_COSINE:
        _log.info("%s is computed in float32: cosine %.5f otherwise.", encoder_id, lowest)
    return lowest >= _LOWEST_COSINE


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
