"""The encoders that a dataset.toml declares, the main one and its candidates, by identity."""

from collections.abc import Iterator

from feast_fusion.encoding.identity import EncoderIdentity, describe_encoder
from feast_fusion.errors import EncoderMismatchError
from intake.dataset import Dataset
from intake.encoder_settings import Encoder
from transformations.writing import text_version


def identify(dataset: Dataset, encoder: Encoder | None = None) -> EncoderIdentity:
    """The identity of an encoder for a data set's texts; loads no weights.

    Raises as `describe_encoder`.

    Parameters
    ----------
    encoder : None for the main one
    """
    encoder = encoder or dataset.encoder
    return describe_encoder(encoder.model, template=text_version(dataset), **encoder.options)


def identify_every(dataset: Dataset) -> Iterator[tuple[Encoder, EncoderIdentity]]:
    """Each declared encoder with its identity, the main one first."""
    for encoder in dataset.encoder.every:
        yield encoder, identify(dataset, encoder)


def find_encoder(dataset: Dataset, encoder_id: str) -> tuple[Encoder, EncoderIdentity]:
    """The declared encoder of that id: whether it is the main one or a candidate is all one.

    Raises
    ------
    EncoderMismatchError
        None has it.
    """
    known = []
    for encoder, identity in identify_every(dataset):
        if identity.encoder_id == encoder_id:
            return encoder, identity
        known.append(identity.encoder_id)
    raise EncoderMismatchError(
        f"{dataset.path}: got the encoder {' and '.join(known)}, expected {encoder_id}, which made "
        "the vectors in store. Declare it in dataset.toml as [encoder] or as "
        "[encoder.candidates.NAME], or encode anew: feast-fusion run."
    )
