"""Text of a data set -> vectors of its encoder: offline, on demand and in the service."""

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from feast_fusion.encoding.cached_encoder import CachedEncoder
from feast_fusion.encoding.host.hosted_encoder import HostedEncoder, HostedQueue
from feast_fusion.encoding.identity import EncoderIdentity
from feast_fusion.encoding.prompts import Role
from feast_fusion.encoding.remote_model import RemoteModel
from feast_fusion.encoding.text_queue import TextQueue, TextQueueStats
from feast_fusion.encoding.vector_cache import Vectors, text_keys
from feast_fusion.errors import FeatureNotFoundError
from feast_fusion.tracing import span
from intake.encoder_settings import Encoder
from intake.workspace import Workspace, open_workspace
from transformations.cleaning import clean
from transformations.declared_encoders import find_encoder, identify_every
from transformations.text import render_behaviours
from transformations.writing import ItemTexts

Embedded = tuple[Vectors, NDArray[np.bool_]]

_REMEMBERED = 10_000
_WAIT_S = 60.0


def require_server(workspace: Workspace) -> None:
    """Ask the servers of a data set's encoders, if any, before work that would be in vain.

    Raises
    ------
    StoreUnavailableError, SchemaError
        One does not answer, or not with vectors.
    EncoderMismatchError
        One gives other vectors than when it was first asked.
    """
    for _, identity in identify_every(workspace.dataset):
        if isinstance(identity.model, RemoteModel):
            _ = Embedder(workspace, identity.encoder_id).cached.encoder


class Embedder:
    """Vectors of a data set's texts, all cleaned alike. Safe for many threads.

    Nothing is read or loaded before it is needed, and no weights where the workspace names a
    process that has them. Every method returns (n, d) L2-normalised vectors and (n,) whether there
    is one; a text that is empty once it is cleaned has none.

    Parameters
    ----------
    workspace : of the data set
    encoder_id : of the vectors that the new ones will meet; None where there are none, then every
        use raises FeatureNotFoundError
    shared : a place for vectors of several machines, see `CachedEncoder`; None in the service,
        where no request waits for it

    Raises
    ------
    EncoderMismatchError
        By every use: the data set declares no encoder of that id any longer.
    FeatureNotFoundError, StoreUnavailableError
        By every use: the model is not there.
    """

    def __init__(
        self, workspace: Workspace, encoder_id: str | None, shared: str | None = None
    ) -> None:
        self.workspace = workspace
        self._shared = shared
        self._dataset = workspace.dataset
        self._encoder_id = encoder_id
        self._queries: OrderedDict[str, Vectors] = OrderedDict()
        self._queries_lock = threading.Lock()
        self._cached: CachedEncoder | None = None
        self._queue: TextQueue | HostedQueue | None = None
        self._opening = threading.Lock()

    @cached_property
    def _declared(self) -> tuple[Encoder, EncoderIdentity]:
        if self._encoder_id is None:
            raise FeatureNotFoundError(
                "text: got a feature service without vectors, expected one with item vectors. "
                "Name a view of item vectors in the service, or ask without a text."
            )
        return find_encoder(self._dataset, self._encoder_id)

    @property
    def settings(self) -> Encoder:
        """What dataset.toml says of the encoder."""
        return self._declared[0]

    @property
    def identity(self) -> EncoderIdentity:
        """Of the encoder."""
        return self._declared[1]

    @cached_property
    def _item_texts(self) -> ItemTexts:
        return ItemTexts(self.workspace)

    @property
    def cached(self) -> CachedEncoder:
        """The encoder behind the vector cache of the workspace."""
        with self._opening:
            if self._cached is None:
                self._cached = CachedEncoder(
                    self.identity,
                    self.workspace.vectors,
                    probes=self.workspace.servers,
                    shared=self._shared,
                    host=self.workspace.encoder_host,
                    **self.settings.placement,
                )
            return self._cached

    def _open_queue(self) -> TextQueue | HostedQueue:
        """One for all threads: by two of them the encoder would be used at once."""
        encoder = self.cached.encoder
        with self._opening:
            if self._queue is None:
                self._queue = (
                    HostedQueue(encoder)
                    if isinstance(encoder, HostedEncoder)
                    else TextQueue(encoder, "query")
                )
            return self._queue

    @property
    def query_stats(self) -> TextQueueStats:
        """What the encoder did for queries in this process."""
        queue = self._queue
        return TextQueueStats() if queue is None else queue.stats

    def items(self, items: pa.Table) -> Embedded:
        """Vectors of item versions: of their text, see `ItemTexts`."""
        return self.cached.embed(self.item_texts(items))

    def item_texts(self, items: pa.Table) -> list[str]:
        """The text of each item version as it is encoded; empty where there is none."""
        return self.cleaned(self._item_texts.render(items))

    def portraits(self, texts: Sequence[str | None]) -> Embedded:
        """Vectors of what was written of users."""
        return self.cached.embed(self.portrait_texts(texts), "behaviour")

    def portrait_texts(self, texts: Sequence[str | None]) -> list[str]:
        """What was written of users, as it is encoded; empty where there is nothing."""
        return self.cleaned([text or "" for text in texts])

    def behaviours(
        self, liked: Sequence[Sequence[str]], disliked: Sequence[Sequence[str]]
    ) -> Embedded:
        """Vectors of snapshots, of their text."""
        return self.cached.embed(self.behaviour_texts(liked, disliked), "behaviour")

    def behaviour_texts(
        self, liked: Sequence[Sequence[str]], disliked: Sequence[Sequence[str]]
    ) -> list[str]:
        """The texts of snapshots: liked and disliked titles within the data set's token budget."""
        encoder = self.cached.encoder
        return render_behaviours(
            [self.cleaned(titles) for titles in liked],
            [self.cleaned(titles) for titles in disliked],
            max_tokens=min(self._dataset.activity.behaviour_tokens, self._room("behaviour")),
            count_tokens=encoder.count_tokens,
            n_special_tokens=encoder.n_special_tokens,
        )

    def keys_of_users(self, texts: Sequence[str]) -> list[bytes]:
        """Under which the vectors of `behaviour_texts` or `portrait_texts` are kept."""
        prefix = self.identity.cache_prefix("behaviour")
        return text_keys(self.identity.cache_id, [prefix + text for text in texts if text])

    def queries(self, texts: Sequence[str | None], wait_s: float = _WAIT_S) -> Embedded:
        """Vectors of texts as users type them, encoded together with those of other threads.

        The last ones are remembered, in memory only: requests are unbounded and must not fill the
        disk.

        Parameters
        ----------
        wait_s : until the caller gives up, see `TextQueue.encode`

        Raises
        ------
        StoreUnavailableError
            Too many texts wait, these have waited for too long, or the process that encodes for
            this one does not answer.
        """
        asked = self.cleaned([text or "" for text in texts])
        known = self._recall(set(asked) - {""}, wait_s)
        vectors = np.zeros((len(asked), self.identity.dimension), dtype=np.float32)
        for row, text in enumerate(asked):
            if text:
                vectors[row] = known[text]
        return vectors, np.array([bool(text) for text in asked], dtype=bool)

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Tokens of queries that the encoder reads: with the prompt and special tokens, cut."""
        encoder, limit = self.cached.encoder, self.identity.max_tokens
        prompt = self.identity.prompts.query
        counts = encoder.count_tokens([prompt + text for text in self.cleaned(texts)])
        return sum(min(count + encoder.n_special_tokens, limit) for count in counts)

    def _room(self, role: Role) -> int:
        """Tokens that the prompt of a role leaves for a text, special ones included."""
        prompt = self.identity.prompts.of(role)
        n_prompt = self.cached.encoder.count_tokens([prompt])[0] if prompt else 0
        return self.identity.max_tokens - n_prompt

    def cleaned(self, texts: Sequence[str]) -> list[str]:
        """Texts without what the data set's `[cleaning]` leaves out; needs no encoder."""
        return [clean(text, self._dataset.cleaning) for text in texts]

    def _recall(self, texts: set[str], wait_s: float) -> dict[str, Vectors]:
        """The vector of each text; those not remembered go through the model together."""
        with self._queries_lock:
            found = {text: self._queries[text] for text in texts if text in self._queries}
        # Texts of about one length are encoded with little padding.
        missing = sorted(texts - found.keys(), key=lambda text: (len(text), text))
        if missing:
            with span("encode"):
                found |= zip(missing, self._open_queue().encode(missing, wait_s), strict=True)
        with self._queries_lock:
            self._queries |= found
            for text in found:
                self._queries.move_to_end(text)
            while len(self._queries) > _REMEMBERED:
                self._queries.popitem(last=False)
        return found


@lru_cache(maxsize=8)
def open_embedder(dataset: str, home: str, encoder_id: str) -> Embedder:
    """The embedder of a declaration's literals; the model is loaded once in a process.

    Its vectors are shared at FUSION_VECTORS. The environment is read here since Feast's commands
    and the workers of Ray pass nothing else on, and where vectors are kept declares no feature.

    Parameters
    ----------
    dataset : path of the dataset.toml
    home : folder of all workspaces
    encoder_id : for which the view was declared
    """
    workspace = open_workspace(dataset, home)
    return Embedder(workspace, encoder_id, os.environ.get("FUSION_VECTORS") or None)
