"""One encoder on several devices, each with a share of the texts."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from feast_fusion.encoding.encoder import TextEncoder
from feast_fusion.encoding.identity import EncoderIdentity
from feast_fusion.encoding.modules import Modules
from feast_fusion.encoding.prompts import Role
from feast_fusion.encoding.transformer_encoder import TransformerEncoder


class ManyDevices(TextEncoder):
    """A `TextEncoder` of one `TransformerEncoder` per device.

    Parameters
    ----------
    identity, modules : of the model
    devices : names; a device may come twice
    dtype, batch_tokens : see `Placement`, of each device

    Raises
    ------
    SchemaError
        See `TransformerEncoder`.
    """

    def __init__(
        self,
        identity: EncoderIdentity,
        modules: Modules,
        devices: Sequence[str],
        dtype: str | torch.dtype | None,
        batch_tokens: int | None,
    ) -> None:
        self.identity = identity
        self._encoders = [
            TransformerEncoder(
                identity, modules, device=device, dtype=dtype, batch_tokens=batch_tokens
            )
            for device in devices
        ]

    @property
    def n_special_tokens(self) -> int:
        """Special tokens that encoding adds to a text."""
        return self._encoders[0].n_special_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without special tokens, prompt and truncation."""
        return self._encoders[0].count_tokens(texts)

    def encode(self, texts: Sequence[str], role: Role = "item") -> NDArray[np.float32]:
        """(n, d) L2-normalised vectors in the order of `texts`. Raises as `TransformerEncoder`.

        The longest texts are dealt first, so that all devices end together.
        """
        order = np.argsort([-len(text) for text in texts], kind="stable")
        hands = [order[at :: len(self._encoders)] for at in range(len(self._encoders))]
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)

        def fill(encoder: TransformerEncoder, rows: NDArray[np.int64]) -> None:
            if len(rows):
                vectors[rows] = encoder.encode([texts[row] for row in rows], role)

        with ThreadPoolExecutor(len(hands), "device") as threads:
            list(threads.map(fill, self._encoders, hands))
        return vectors
