"""What a language model writes of items and users: the batch transformations, what they share."""

import logging
from collections.abc import Callable, Sequence
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
from intake.writer_settings import PORTRAIT
from transformations.cleaning import clean
from transformations.text import TEMPLATE_VERSION, render_behaviours, render_items

_log = logging.getLogger(__name__)


def identify_item_writer(dataset: Dataset) -> WriterIdentity | None:
    """The identity of what writes of items, None without; no weights. As `describe_writer`."""
    writer = dataset.writer
    if writer is None or not writer.attributes:
        return None
    return describe_writer(
        attributes=Attributes(writer.choices, writer.words),
        prompt=writer.prompt,
        max_characters=writer.max_characters,
        template=TEMPLATE_VERSION,
        **writer.place,
    )


def identify_user_writer(dataset: Dataset) -> WriterIdentity | None:
    """The identity of what writes of users, None without; no weights. As `describe_writer`."""
    if dataset.writer is None or dataset.writer.user is None:
        return None
    user = dataset.writer.user
    return describe_writer(
        attributes=Attributes(user.choices, user.words, {PORTRAIT: user.portrait_words}),
        prompt=user.prompt,
        max_characters=user.max_characters,
        template=TEMPLATE_VERSION,
        **dataset.writer.place,
    )


class RowWriter:
    """What a data set's writer says of rows. Safe for many threads.

    Parameters
    ----------
    identity : of the writer, None where the data set has none
    render : the text of each row
    writer_id : for which a view was declared; None to take what dataset.toml says now

    Raises
    ------
    SchemaError
        The data set has no such writer.
    EncoderMismatchError
        Its writer is no longer that of `writer_id`.
    """

    def __init__(
        self,
        workspace: Workspace,
        identity: WriterIdentity | None,
        render: Callable[[pa.Table], list[str]],
        writer_id: str | None = None,
    ) -> None:
        path = workspace.dataset.path
        if identity is None:
            raise schema_error(
                f"{path}",
                got="no [writer] of what is asked",
                expected="a language model that writes it",
                remedy="Add the section (docs/dataset_keys.md has its keys), then run feast apply.",
            )
        if writer_id not in (None, identity.writer_id):
            raise EncoderMismatchError(
                f"{path}: got writer {identity.writer_id}, expected {writer_id}, for "
                "which the view was declared. Run feast apply and feast materialize to write "
                "anew, or restore dataset.toml."
            )
        self._cached = CachedWriter(identity, workspace.writings)
        self._render = render

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of what is written."""
        return self._cached.identity.attributes.names

    @property
    def cost(self) -> Cost:
        """Of everything that this writer ever wrote."""
        return self._cached.cost

    def new_texts(self, rows: pa.Table) -> list[str]:
        """Texts of the rows about which the model would be asked."""
        return self._cached.new_texts(self._render(rows))

    def write(self, rows: pa.Table, progress: Progress | None = None) -> list[Answer]:
        """What is written of each row. Raises as `CachedWriter.write`."""
        return self._cached.write(self._render(rows), progress)

    def kept(self, rows: pa.Table) -> dict[bytes, Answer]:
        """What is kept of the rows, under the keys of it; the model is asked nothing."""
        return self._cached.kept(self._render(rows))

    def remove(self, keys: Sequence[bytes]) -> int:
        """Remove what is kept under keys; how many there were."""
        return self._cached.remove(keys)


def item_writer(workspace: Workspace, writer_id: str | None = None) -> RowWriter:
    """What writes of item versions: of the text by the template of the data set."""
    dataset = workspace.dataset

    def render(items: pa.Table) -> list[str]:
        texts = render_items(dataset.items.text, items)
        return [clean(text, dataset.cleaning) for text in texts]

    return RowWriter(workspace, identify_item_writer(dataset), render, writer_id)


def user_writer(workspace: Workspace, writer_id: str | None = None) -> RowWriter:
    """What writes of behaviour snapshots: of the titles liked and disliked, as many as are read."""
    dataset = workspace.dataset
    identity = identify_user_writer(dataset)

    def cleaned(lists: pa.ChunkedArray) -> list[list[str]]:
        return [[clean(title, dataset.cleaning) for title in each] for each in lists.to_pylist()]

    def render(snapshots: pa.Table) -> list[str]:
        return render_behaviours(
            cleaned(snapshots["liked"]),
            cleaned(snapshots["disliked"]),
            max_tokens=identity.max_characters if identity else 0,
            count_tokens=lambda texts: [len(text) for text in texts],
            n_special_tokens=0,
        )

    return RowWriter(workspace, identity, render, writer_id)


class ItemTexts:
    """The text of item versions that is encoded: by the template, then what was written of each.

    An attribute without a value is left out. A version's attributes are those of its own text, so
    they were not known later than the version was.
    """

    def __init__(self, workspace: Workspace) -> None:
        dataset = workspace.dataset
        self._template = dataset.items.text
        names = dataset.writer.in_text if dataset.writer else ()
        self._writer = item_writer(workspace) if names else None
        self._written = " ".join(
            f"{name.replace('_', ' ').capitalize()}: {{{name}}}." for name in names
        )

    def render(self, items: pa.Table) -> list[str]:
        """The text of each version."""
        texts = render_items(self._template, items)
        if self._writer is None:
            return texts
        answers = self._writer.write(items)
        columns = {
            name: [answer.values[name] for answer in answers] for name in self._writer.attributes
        }
        written = render_items(self._written, pa.table(columns))
        return [" ".join(filter(None, pair)) for pair in zip(texts, written, strict=True)]


def text_version(dataset: Dataset) -> int | str:
    """What decides the text of an item beside its columns: the code, and who writes into it."""
    if dataset.writer is None or not dataset.writer.in_text:
        return TEMPLATE_VERSION
    identity = identify_item_writer(dataset)
    assert identity is not None  # what joins the text is written
    return f"{TEMPLATE_VERSION} {identity.writer_id} {' '.join(dataset.writer.in_text)}"


def write_attributes(
    frame: pd.DataFrame, *, dataset: str, home: str, writer_id: str
) -> pd.DataFrame:
    """Item versions with the attributes that a language model writes of their text.

    Null where the text is empty or nothing usable was written, which is logged.

    Raises
    ------
    EncoderMismatchError
        The data set's writer is no longer the declared one.
    """
    return _with_answers(frame, "item_id", open_item_writer(dataset, home, writer_id))


def write_portraits(
    frame: pd.DataFrame, *, dataset: str, home: str, writer_id: str
) -> pd.DataFrame:
    """Behaviour snapshots with what a language model writes of them; else as `write_attributes`."""
    return _with_answers(frame, "user_id", open_user_writer(dataset, home, writer_id))


@lru_cache(maxsize=8)
def open_item_writer(dataset: str, home: str, writer_id: str) -> RowWriter:
    """The writer of a declaration's literals; the model is loaded once in a process."""
    return item_writer(open_workspace(dataset, home), writer_id)


@lru_cache(maxsize=8)
def open_user_writer(dataset: str, home: str, writer_id: str) -> RowWriter:
    """As `open_item_writer`, of users."""
    return user_writer(open_workspace(dataset, home), writer_id)


def _with_answers(frame: pd.DataFrame, key: str, writer: RowWriter) -> pd.DataFrame:
    answers = writer.write(pa.Table.from_pandas(frame, preserve_index=False))
    n_rejected = sum(len(answer.rejects) for answer in answers)
    if n_rejected:
        _log.warning(
            "written by %s: %d values of %d rows are empty, as the writer wrote nothing usable. "
            "feast-fusion write shows an example.",
            key.removesuffix("_id"),
            n_rejected,
            len(answers),
        )
    columns = {
        name: pd.Series([answer.values[name] for answer in answers], index=frame.index)
        for name in writer.attributes
    }
    return frame[[key, "event_timestamp"]].assign(**columns)
