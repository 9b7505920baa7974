"""Attributes of items that a language model writes: the batch transformation and what it shares."""

import logging
from collections.abc import Sequence
from functools import lru_cache

import pandas as pd
import pyarrow as pa

from feast_fusion.errors import EncoderMismatchError, schema_error
from feast_fusion.writing.answer import Answer
from feast_fusion.writing.attributes import Attributes
from feast_fusion.writing.cached_writer import CachedWriter, Progress
from feast_fusion.writing.cost import Cost
from feast_fusion.writing.identity import WriterIdentity, describe_writer
from intake.dataset import Dataset
from intake.workspace import Workspace, open_workspace
from intake.writer_settings import WriterConfig
from transformations.cleaning import clean
from transformations.text import TEMPLATE_VERSION, render_items

_log = logging.getLogger(__name__)


def identify_writer(writer: WriterConfig) -> WriterIdentity:
    """The identity of a data set's writer; loads no weights. Raises as `describe_writer`."""
    attributes = Attributes(writer.choices, writer.words)
    return describe_writer(writer.model, attributes, template=TEMPLATE_VERSION, **writer.options)


class ItemWriter:
    """What a data set's writer says of its items. Safe for many threads.

    Parameters
    ----------
    workspace : of a data set that has a writer
    writer_id : for which the view was declared; None to take what dataset.toml says now

    Raises
    ------
    SchemaError
        The data set has no writer.
    EncoderMismatchError
        Its writer is no longer that of `writer_id`.
    """

    def __init__(self, workspace: Workspace, writer_id: str | None = None) -> None:
        self._dataset = workspace.dataset
        identity = identify_writer(_writer_of(self._dataset))
        if writer_id not in (None, identity.writer_id):
            raise EncoderMismatchError(
                f"{self._dataset.path}: got writer {identity.writer_id}, expected {writer_id}, for "
                "which the view was declared. Run feast apply and feast materialize to write "
                "anew, or restore dataset.toml."
            )
        self._cached = CachedWriter(identity, workspace.writings)

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of what is written."""
        return self._cached.identity.attributes.names

    @property
    def cost(self) -> Cost:
        """Of everything that this writer ever wrote."""
        return self._cached.cost

    def new_texts(self, items: pa.Table) -> list[str]:
        """Texts of item versions about which the model would be asked."""
        return self._cached.new_texts(self._texts(items))

    def write(self, items: pa.Table, progress: Progress | None = None) -> list[Answer]:
        """The attributes of each item version. Raises as `CachedWriter.write`."""
        return self._cached.write(self._texts(items), progress)

    def _texts(self, items: pa.Table) -> Sequence[str]:
        texts = render_items(self._dataset.items.text, items)
        return [clean(text, self._dataset.cleaning) for text in texts]


def write_attributes(
    frame: pd.DataFrame, *, dataset: str, home: str, writer_id: str
) -> pd.DataFrame:
    """Item versions with the attributes that a language model writes of their text.

    Null where the text is empty or nothing usable was written, which is logged with an example.

    Raises
    ------
    EncoderMismatchError
        The data set's writer is no longer the declared one.
    """
    writer = open_item_writer(dataset, home, writer_id)
    answers = writer.write(pa.Table.from_pandas(frame, preserve_index=False))
    rejected = [reject for answer in answers for reject in answer.rejects]
    if rejected:
        _log.warning(
            "item_attributes: %d attributes of %d items have no value: the writer wrote nothing "
            "usable, such as %s.",
            len(rejected),
            len(answers),
            rejected[0],
        )
    columns = {
        name: pd.Series([answer.values[name] for answer in answers], index=frame.index)
        for name in writer.attributes
    }
    return frame[["item_id", "event_timestamp"]].assign(**columns)


@lru_cache(maxsize=8)
def open_item_writer(dataset: str, home: str, writer_id: str) -> ItemWriter:
    """The writer of a declaration's literals; the model is loaded once in a process."""
    return ItemWriter(open_workspace(dataset, home), writer_id)


def _writer_of(dataset: Dataset) -> WriterConfig:
    if dataset.writer is None:
        raise schema_error(
            f"{dataset.path}",
            got="no [writer]",
            expected="a language model that writes attributes",
            remedy="Add the section (docs/dataset_keys.md has its keys), then run feast apply.",
        )
    return dataset.writer
