"""A writer behind a server: several prompts under way at once."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from feast_fusion.writing.completions_client import CompletionsClient
from feast_fusion.writing.identity import WriterIdentity
from feast_fusion.writing.model_place import ChatServer
from feast_fusion.writing.writer import Written

_ROUNDS = 4  # of parallel requests in a batch, so that a slow answer holds up few others


class RemoteWriter:
    """Asks a server for all attributes of a text in one answer.

    Raises
    ------
    StoreUnavailableError
        The environment variable of the key has no value.
    """

    def __init__(self, identity: WriterIdentity, server: ChatServer) -> None:
        self.identity = identity
        self._n_parallel = server.n_parallel
        self._client = CompletionsClient(server, identity.attributes)

    @property
    def batch(self) -> int:
        """Prompts at once."""
        return _ROUNDS * self._n_parallel

    def write(self, prompts: Sequence[str]) -> list[Written]:
        """One answer for each prompt, in order. Raises as `CompletionsClient.complete`."""
        with ThreadPoolExecutor(self._n_parallel) as pool:
            try:
                return list(pool.map(self._client.complete, prompts))
            except BaseException:
                pool.shutdown(cancel_futures=True)  # a server that is gone is asked no more
                raise
