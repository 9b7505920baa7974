"""An encoder behind its cache: the model is loaded only when a text is new."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from feast_fusion.encoding.encoder import Placement, TextEncoder, open_encoder
from feast_fusion.encoding.identity import EncoderIdentity
from feast_fusion.encoding.prompts import Role
from feast_fusion.encoding.vector_cache import VectorCache, Vectors


class CachedEncoder:
    """Vectors of one encoder, each text encoded once. Safe for many threads.

    Parameters
    ----------
    identity : of the encoder
    folder : where the vectors are kept, one file per cache id
    placement : where the encoder computes
    """

    def __init__(
        self, identity: EncoderIdentity, folder: Path, **placement: Unpack[Placement]
    ) -> None:
        self.identity = identity
        self._folder = folder
        self._placement = placement
        self._cache: VectorCache | None = None
        self._encoder: TextEncoder | None = None
        self._opening = threading.Lock()

    @property
    def cache(self) -> VectorCache:
        """The vectors on disk, opened at the first use."""
        with self._opening:
            if self._cache is None:
                identity = self.identity
                self._cache = VectorCache(self._folder, identity.cache_id, identity.dimension)
            return self._cache

    @property
    def encoder(self) -> TextEncoder:
        """The model, loaded at the first use."""
        with self._opening:
            if self._encoder is None:
                self._encoder = open_encoder(self.identity, **self._placement)
            return self._encoder

    def embed(
        self, texts: Sequence[str | None], role: Role = "item"
    ) -> tuple[Vectors, NDArray[np.bool_]]:
        """(n, d) vectors and (n,) whether there is one; a blank text and None have none."""
        prefix = self.identity.cache_prefix(role)
        written = [prefix + text for text in texts if text and not text.isspace()]
        present = np.array([bool(text and not text.isspace()) for text in texts], dtype=bool)
        vectors = np.zeros((len(texts), self.identity.dimension), dtype=np.float32)
        if written:
            vectors[present] = self.cache.encode(
                written,
                lambda new: self.encoder.encode([text[len(prefix) :] for text in new], role),
            )
        return vectors, present
