"""Text -> vector: what an encoder offers, and how one is loaded.

Importing this module imports neither torch nor transformers.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from feast_fusion.encoding.identity import EncoderIdentity, describe_encoder
from feast_fusion.errors import extra_required

if TYPE_CHECKING:
    import torch

    from feast_fusion.encoding.transformer_encoder import TransformerEncoder


class TextEncoder(Protocol):
    """What everything else needs of an encoder."""

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

    Parameters
    ----------
    model, max_tokens, pooling, prompt : see `describe_encoder`
    device, dtype, batch_tokens : see `open_encoder`

    Raises
    ------
    FeatureNotFoundError, StoreUnavailableError, MissingExtraError, SchemaError
        See `describe_encoder` and `open_encoder`.
    """
    identity = describe_encoder(model, max_tokens=max_tokens, pooling=pooling, prompt=prompt)
    return open_encoder(identity, device=device, dtype=dtype, batch_tokens=batch_tokens)


def open_encoder(
    identity: EncoderIdentity,
    *,
    device: "str | torch.device | None" = None,
    dtype: "torch.dtype | None" = None,
    batch_tokens: int | None = None,
) -> "TransformerEncoder":
    """The encoder of an identity, its weights loaded.

    Parameters
    ----------
    identity : from `describe_encoder`
    device : None for CUDA where there is one, else the CPU
    dtype : None for bfloat16 where the device computes in it, else float16 on CUDA and float32 on
        a CPU
    batch_tokens : padded tokens per forward pass; None as the device likes it

    Raises
    ------
    MissingExtraError
        torch or transformers is not installed.
    SchemaError
        The folder lacks weights that its config.json declares.
    """
    with extra_required("encoder"):
        from feast_fusion.encoding.transformer_encoder import TransformerEncoder  # imports torch

    return TransformerEncoder(identity, device=device, dtype=dtype, batch_tokens=batch_tokens)
