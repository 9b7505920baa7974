"""The encoders whose interest vectors follow live events."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from serving.live.live_event import Stamp
from transformations.embedder import Embedder


class FollowedEncoders:
    """Each as long as somebody asks for it. Safe for many threads.

    Parameters
    ----------
    embedders : of those that are followed from the beginning, for good
    """

    def __init__(self, embedders: Sequence[Embedder]) -> None:
        self._embedders = list(embedders)  # one twice where two versions of the model read it
        self._lock = threading.Lock()

    @property
    def by_id(self) -> dict[str, Embedder]:
        """Their embedders, in the order of the ids."""
        with self._lock:
            found = {each.identity.encoder_id: each for each in self._embedders}
        return dict(sorted(found.items()))

    def rows_on(self, stamp: Stamp) -> str:
        """Names what rows on a preparation are there of each event that was applied."""
        return " ".join([str(stamp), *self.by_id])

    @contextmanager
    def following(self, embedder: Embedder, begin: Callable[[], object]) -> Iterator[None]:
        """While it is open the encoder is one of them.

        Parameters
        ----------
        begin : called first where it was none of them before
        """
        is_new = embedder.identity.encoder_id not in self.by_id
        with self._lock:
            self._embedders.append(embedder)
        try:
            if is_new:
                begin()
            yield
        finally:
            with self._lock:
                self._embedders.remove(embedder)
