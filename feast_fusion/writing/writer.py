"""Prompts in, texts out: what every writer is. Imports no torch before a model is needed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from feast_fusion.writing.identity import WriterIdentity
from feast_fusion.writing.model_place import ChatServer


@dataclass(frozen=True)
class Written:
    """What a model wrote about one prompt.

    Attributes
    ----------
    text : JSON, as far as the model keeps to it
    n_read_tokens, n_written_tokens : 0 where a server does not tell
    """

    text: str
    n_read_tokens: int = 0
    n_written_tokens: int = 0


class Writer(Protocol):
    """A model that writes attributes. What it writes of a prompt does not depend on the others."""

    identity: WriterIdentity

    @property
    def batch(self) -> int:
        """How many prompts it likes to get at once."""

    def write(self, prompts: Sequence[str]) -> list[Written]:
        """One answer for each prompt, in order.

        Raises
        ------
        StoreUnavailableError
            A server does not answer.
        SchemaError
            A prompt is too long for the model, or a server answers in another form.
        """


def open_writer(identity: WriterIdentity, reference: Sequence[str]) -> Writer:
    """The writer of an identity, ready to write.

    Parameters
    ----------
    reference : prompts beside which a local model's choices are made; a server needs none

    Raises
    ------
    MissingExtraError
        A package of the extra [writer] is not installed.
    SchemaError, FeatureNotFoundError, StoreUnavailableError
        The model cannot be loaded, or the server's key is not there.
    """
    if isinstance(identity.model, ChatServer):
        from feast_fusion.writing.remote_writer import RemoteWriter

        return RemoteWriter(identity, identity.model)
    from feast_fusion.writing.local_writer import LocalWriter

    return LocalWriter(identity, identity.model, reference)
