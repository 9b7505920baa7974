"""An encoder behind its cache: the model is loaded only when a text is new."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from feast_fusion.encoding.encoder import Placement, TextEncoder, open_encoder
from feast_fusion.encoding.host.hosted_encoder import HostedEncoder
from feast_fusion.encoding.identity import EncoderIdentity
from feast_fusion.encoding.known_server import require_known_server
from feast_fusion.encoding.probes import PROBES
from feast_fusion.encoding.prompts import Role
from feast_fusion.encoding.remote_model import RemoteModel
from feast_fusion.encoding.vector_cache import VectorCache, Vectors

# Texts that a failure may lose; a server fails more often, and gets few texts at a time anyway.
_CHUNK, _REMOTE_CHUNK = 1024, 256


class CachedEncoder:
    """Vectors of one encoder, each text encoded once. Safe for many threads.

    Parameters
    ----------
    identity : of the encoder
    folder : where the vectors are kept, one file per cache id
    probes : where a server's vectors are kept by which it is recognised; None: in `folder`
    shared : a place for vectors of several machines, see `VectorParts`; None where there is none
    host : Unix socket of the process that has the model, see `EncoderHost`; None for this one
    placement : where the encoder computes
    """

    def __init__(
        self,
        identity: EncoderIdentity,
        folder: Path,
        *,
        probes: Path | None = None,
        shared: str | None = None,
        host: Path | None = None,
        **placement: Unpack[Placement],
    ) -> None:
        self.identity = identity
        self._folder = folder
        self._probes = probes or folder
        self._shared = shared
        self._host = host
        self._placement = placement
        self._cache: VectorCache | None = None
        self._encoder: TextEncoder | None = None
        self._opening = threading.RLock()

    @property
    def cache(self) -> VectorCache:
        """The vectors on disk, opened at the first use."""
        with self._opening:
            if self._cache is None:
                self._cache = self._open_cache()
            return self._cache

    def _open_cache(self) -> VectorCache:
        of_encoder = self.identity.cache_id, self.identity.dimension
        if self._shared is None:
            return VectorCache(self._folder, *of_encoder)
        # It imports Feast, which takes seconds where Feast is not in use anyway.
        from feast_fusion.shared_vectors.shared_vectors import SharedVectors

        shared = SharedVectors(self._shared, self._folder / "shared", *of_encoder)
        return VectorCache(self._folder, *of_encoder, shared)

    @property
    def encoder(self) -> TextEncoder:
        """The model, loaded at the first use.

        Raises
        ------
        EncoderMismatchError
            A server gives other vectors than when it was first asked.
        FeastFusionError
            As `open_encoder`.
        """
        with self._opening:
            if self._encoder is None:
                self._encoder = self._open_encoder()
            return self._encoder

    def _open_encoder(self) -> TextEncoder:
        if self._host is not None:
            return HostedEncoder(self.identity, self._host)
        opened = open_encoder(self.identity, **self._placement)
        self._require_known_server(opened)
        return opened

    def _require_known_server(self, encoder: TextEncoder) -> None:
        model = self.identity.model
        if isinstance(model, RemoteModel):
            prefix = self.identity.cache_prefix("item")
            now = zip([prefix + text for text in PROBES], encoder.encode(PROBES), strict=True)
            path = self._probes / f"{self.identity.cache_id}.probes.json"
            require_known_server(model, path, dict(now))

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
                chunk=_REMOTE_CHUNK if isinstance(self.identity.model, RemoteModel) else _CHUNK,
            )
        return vectors, present
