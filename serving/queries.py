"""Request texts as vectors."""

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from feast_fusion.encoding.encoder import TextEncoder, describe_encoder, load_encoder
from feast_fusion.errors import EncoderMismatchError, FeatureNotFoundError
from intake.dataset import Encoder

Vectors = NDArray[np.float32]

_CACHED = 10_000


class QueryEncoder:
    """The encoder of the item vectors, loaded at the first text. Safe for many threads.

    Parameters
    ----------
    settings : `[encoder]` of the data set
    encoder_id : of the item vectors; None where there are none
    """

    def __init__(self, settings: Encoder, encoder_id: str | None) -> None:
        self._settings = settings
        self._encoder_id = encoder_id
        self._encoder: TextEncoder | None = None
        self._cached: OrderedDict[str, Vectors] = OrderedDict()
        self._cache_lock = threading.Lock()
        # One text at a time: fast tokenizers cannot be used by two threads at once.
        self._model_lock = threading.Lock()

    def encode(self, texts: Sequence[str]) -> Vectors:
        """(n, d) L2-normalised vectors, not cached.

        Raises
        ------
        EncoderMismatchError
            The data set's encoder is no longer that of the item vectors.
        FeatureNotFoundError
            There are no item vectors to compare with, or the model is not there.
        """
        with self._model_lock:
            encoder = self._encoder or self._load()
            self._encoder = encoder
            if len(texts) == 0:
                return np.zeros((0, encoder.dimension), dtype=np.float32)
            return encoder.encode(texts)

    def vector(self, text: str) -> Vectors:
        """(d,) vector of one text; the last ones are kept in memory. Raises as `encode`."""
        with self._cache_lock:
            if text in self._cached:
                self._cached.move_to_end(text)
                return self._cached[text]
        vector: Vectors = self.encode([text])[0]
        with self._cache_lock:
            self._cached[text] = vector
            while len(self._cached) > _CACHED:
                self._cached.popitem(last=False)
        return vector

    def _load(self) -> TextEncoder:
        if self._encoder_id is None:
            raise FeatureNotFoundError(
                "query: got a feature service without vectors, expected one with item vectors. "
                "Name a view of item vectors in the service, or ask without a text."
            )
        found = describe_encoder(self._settings.model, **self._settings.options).encoder_id
        if found != self._encoder_id:
            raise EncoderMismatchError(
                f"query: got the encoder {found}, expected {self._encoder_id}, which made the item "
                "vectors. Run feast-fusion run to encode the items anew, or restore dataset.toml."
            )
        return load_encoder(self._settings.model, **self._settings.options)
