"""Text -> vector: what an encoder offers, and how one is loaded.

Importing this module imports neither torch nor transformers.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from feast_fusion.encoding.identity import EncoderIdentity, describe_encoder
from feast_fusion.encoding.modules import Modules
from feast_fusion.encoding.prompts import Role
from feast_fusion.encoding.remote_model import RemoteModel
from feast_fusion.errors import extra_required

if TYPE_CHECKING:
    import torch


class TextEncoder(Protocol):
    """What everything else needs of an encoder.

    Attributes
    ----------
    identity : all that decides a vector
    """

    identity: EncoderIdentity

    @property
    def encoder_id(self) -> str:
        """Identity of the vectors; vectors of two ids never meet."""
        return self.identity.encoder_id

    @property
    def dimension(self) -> int:
        """Width d of a vector."""
        return self.identity.dimension

    @property
    def n_special_tokens(self) -> int:
        """Tokens that the encoder adds to every text."""

    def encode(self, texts: Sequence[str], role: Role = "item") -> NDArray[np.float32]:
        """(n, d) L2-normalised vectors in the order of `texts`, each behind its role's prompt."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without special tokens and prompt."""


class Placement(TypedDict, total=False):
    """Where and how an encoder computes; no part of its identity.

    Attributes
    ----------
    device : "cpu", "cuda", "cuda:1"; "cuda:0, cuda:1" for a share of the texts on each; None for
        CUDA where there is one, else the CPU
    dtype : "float32", "bfloat16", "float16"; None for bfloat16 where the device computes in it and
        the model's vectors keep a cosine of 0.9999 with those in float32, else float32 on a CPU
        and float16 on CUDA
    batch_tokens : padded tokens per forward pass; None as the device likes it
    """

    device: "str | torch.device | None"
    dtype: "str | torch.dtype | None"
    batch_tokens: int | None


def device_names(device: object) -> list[str]:
    """The devices of "cuda:0, cuda:1"; none where nothing is said, or a device itself is given."""
    return [name.strip() for name in device.split(",")] if isinstance(device, str) else []


def load_encoder(
    model: str | Path,
    *,
    max_tokens: int | None = None,
    pooling: str | None = None,
    prompts: Mapping[str, str | None] | None = None,
    dimension: int | None = None,
    server: Mapping[str, Any] | None = None,
    **placement: Unpack[Placement],
) -> TextEncoder:
    """The encoder of a hub name or a folder, ready on its device.

    Parameters
    ----------
    model, max_tokens, pooling, prompts, dimension, server : see `describe_encoder`
    placement : see `Placement`

    Raises
    ------
    FeatureNotFoundError, StoreUnavailableError, MissingExtraError, SchemaError
        See `describe_encoder` and `open_encoder`.
    """
    identity = describe_encoder(
        model,
        max_tokens=max_tokens,
        pooling=pooling,
        prompts=prompts,
        dimension=dimension,
        server=server,
    )
    return open_encoder(identity, **placement)


def open_encoder(identity: EncoderIdentity, **placement: Unpack[Placement]) -> TextEncoder:
    """The encoder of an identity, its weights loaded.

    Raises
    ------
    MissingExtraError
        torch or transformers is not installed.
    SchemaError
        The model cannot be loaded as its files declare it, or gives different texts one vector.
    StoreUnavailableError
        Its server does not answer.
    """
    model = identity.model
    with extra_required("encoder"):
        if isinstance(model, Modules):
            from feast_fusion.encoding.many_devices import ManyDevices
            from feast_fusion.encoding.transformer_encoder import TransformerEncoder

            devices = device_names(placement.get("device"))
            if len(devices) > 1:
                others = placement.get("dtype"), placement.get("batch_tokens")
                return ManyDevices(identity, model, devices, *others)
            return TransformerEncoder(identity, model, **placement)
        if isinstance(model, RemoteModel):
            from feast_fusion.encoding.remote_encoder import RemoteEncoder

            return RemoteEncoder(identity, model)
        from feast_fusion.encoding.static_encoder import StaticEncoder

        return StaticEncoder(identity, model)
