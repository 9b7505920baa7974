"""Text -> vector: what an encoder offers, and how one is loaded.

Importing this module imports neither torch nor transformers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypedDict, Unpack

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

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, d) L2-normalised vectors in the order of `texts`."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without special tokens."""


class Placement(TypedDict, total=False):
    """Where and how an encoder computes.

    Attributes
    ----------
    device : None for CUDA where there is one, else the CPU
    dtype : None for bfloat16 where the device computes in it, else float16 on CUDA and float32 on
        a CPU
    batch_tokens : padded tokens per forward pass; None as the device likes it
    """

    device: "str | torch.device | None"
    dtype: "torch.dtype | None"
    batch_tokens: int | None


def load_encoder(
    model: str | Path,
    *,
    max_tokens: int = 256,
    pooling: str | None = None,
    prompt: str = "",
    **placement: Unpack[Placement],
) -> "TransformerEncoder":
    """The encoder of a hub name or a folder, ready on its device.

    Parameters
    ----------
    model, max_tokens, pooling, prompt : see `describe_encoder`
    placement : see `Placement`

    Raises
    ------
    FeatureNotFoundError, StoreUnavailableError, MissingExtraError, SchemaError
        See `describe_encoder` and `open_encoder`.
    """
    identity = describe_encoder(model, max_tokens=max_tokens, pooling=pooling, prompt=prompt)
    return open_encoder(identity, **placement)


def open_encoder(identity: EncoderIdentity, **placement: Unpack[Placement]) -> "TransformerEncoder":
    """The encoder of an identity, its weights loaded.

    Raises
    ------
    MissingExtraError
        torch or transformers is not installed.
    SchemaError
        The folder lacks weights that its config.json declares.
    """
    with extra_required("encoder"):
        from feast_fusion.encoding.transformer_encoder import TransformerEncoder  # imports torch

    return TransformerEncoder(identity, **placement)
