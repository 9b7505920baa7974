"""Text -> vector: what an encoder is, its identity, and how one is loaded.

Importing this module, and `describe_encoder`, import neither torch nor transformers.
"""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from feast_fusion.encoding.model_folder import (
    POOLINGS,
    digest_files,
    find_model_folder,
    read_dimension,
    read_pooling,
    read_token_limit,
)
from feast_fusion.errors import schema_error
from transformations.text import TEMPLATE_VERSION

if TYPE_CHECKING:
    import torch

    from feast_fusion.encoding.transformer_encoder import TransformerEncoder


class TextEncoder(Protocol):
    """What the rest of the project needs of an encoder."""

    @property
    def encoder_id(self) -> str:
        """Identity of the vectors; vectors of two ids never meet."""

    @property
    def dimension(self) -> int:
        """Width d of a vector."""

    @property
    def n_special_tokens(self) -> int:
        """Tokens that the encoder adds to every text."""

    def encode(
        self, texts: Sequence[str], progress: Callable[[int], None] | None = None
    ) -> NDArray[np.float32]:
        """(n, d) L2-normalised vectors in the order of `texts`."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without special tokens."""


@dataclass(frozen=True)
class EncoderIdentity:
    """All that decides the vector of a text, and its short name `encoder_id`."""

    encoder_id: str
    dimension: int
    folder: Path
    pooling: str
    max_tokens: int
    prompt: str


def describe_encoder(
    model: str | Path, *, max_tokens: int = 256, pooling: str | None = None, prompt: str = ""
) -> EncoderIdentity:
    """The identity of an encoder, from the digests of its files; loads no weights.

    `pooling` None: as the model says. `encoder_id` matches `^[a-z0-9_]+$` without a double
    underscore, so it can be part of a view's name.

    Raises
    ------
    FeatureNotFoundError, StoreUnavailableError
        The model is not there; see `find_model_folder`.
    SchemaError
        The pooling is unknown, or the model takes fewer than `max_tokens` tokens.
    """
    folder = find_model_folder(model)
    pooling = pooling if pooling is not None else read_pooling(folder)
    if pooling not in POOLINGS:
        raise schema_error(
            "[encoder] pooling",
            got=pooling,
            expected=f"one of {', '.join(POOLINGS)}",
            remedy="Correct it, or leave it out to use the model's own.",
        )
    limit = read_token_limit(folder)
    if limit is not None and max_tokens > limit:
        raise schema_error(
            "[encoder] max_tokens",
            got=max_tokens,
            expected=f"at most {limit} for {model}",
            remedy="Lower it, or choose a model for longer texts.",
        )
    ingredients = {
        "files": digest_files(folder),
        "pooling": pooling,
        "max_tokens": max_tokens,
        "prompt": prompt,
        "dimension": read_dimension(folder),
        "normalisation": "l2",
        "template": TEMPLATE_VERSION,
    }
    digest = hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()
    encoder_id = f"{_readable(model)}_{digest[:12]}"
    return EncoderIdentity(encoder_id, read_dimension(folder), folder, pooling, max_tokens, prompt)


def _readable(model: str | Path) -> str:
    """The last part of the model's name, fit for a column, table and folder name."""
    name = Path(str(model).split("@")[0]).expanduser().resolve().name
    return re.sub(r"[^a-z0-9]+", "_", name.lower())[:32].strip("_") or "encoder"


def load_encoder(
    model: str | Path,
    *,
    max_tokens: int = 256,
    pooling: str | None = None,
    prompt: str = "",
    device: "str | torch.device | None" = None,
    dtype: "torch.dtype | None" = None,
    batch_tokens: int | None = None,
) -> "TransformerEncoder":
    """The encoder of a hub name or a folder, ready on its device.

    `device` None: CUDA where there is one, else the CPU. `dtype` None: bfloat16 where the device
    computes in it, else float16 on CUDA and float32 on a CPU. `batch_tokens`: padded tokens per
    forward pass. Raises what `describe_encoder` raises.
    """
    identity = describe_encoder(model, max_tokens=max_tokens, pooling=pooling, prompt=prompt)
    from feast_fusion.encoding.transformer_encoder import TransformerEncoder  # imports torch

    return TransformerEncoder(identity, device=device, dtype=dtype, batch_tokens=batch_tokens)
