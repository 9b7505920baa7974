"""`[writer]` is read exactly, and what cannot be meant is named."""

from pathlib import Path

import pytest

from feast_fusion.errors import SchemaError
from intake.dataset_file import load_dataset
from tests.datasets import FILMS_TOML


def read(folder: Path, section: str) -> object:
    path = folder / "dataset.toml"
    path.write_text(FILMS_TOML + section, encoding="utf-8")
    return load_dataset(path).writer


def test_without_the_section_there_is_no_writer(tmp_path: Path) -> None:
    assert read(tmp_path, "") is None


def test_the_model_is_found_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "small.gguf").touch()
    section = '[writer]\nmodel = "{}"\nwords = {{themes = 3}}\n'
    found = read(tmp_path, section.format("small.gguf"))
    assert found.model == str(tmp_path / "small.gguf")  # type: ignore[attr-defined]
    found = read(tmp_path, section.format("org/name"))
    assert found.model == "org/name"  # type: ignore[attr-defined]


def test_portraits_alone_may_be_asked_for(tmp_path: Path) -> None:
    found = read(tmp_path, '[writer]\nmodel = "any"\n[writer.user]\nportrait_words = 9\n')
    assert found.user.portrait_words == 9 and not found.attributes  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("", "name what is written"),
        ("choices = {mood = ['dark']}", "two values or more"),
        ("choices = {mood = ['dark', 'Dark']}", "two values or more"),
        ("choices = {mood = ['dark', ' ']}", "at least 1 character"),
        ("choices = {mood = ['a', 'b']}\nwords = {mood = 2}", "mood is among choices and words"),
        ("words = {themes = 0}", "greater than or equal to 1"),
        ("words = {Themes = 2}", "should match pattern"),
        ("words = {a__b = 2}", "should match pattern"),
        ("words = {genres = 2}", "genres is a column of the data set"),
        ("words = {gender = 2}", "gender is a column of the data set"),
        ("words = {themes = 2}\nprompt = 'What is it?'", "no {text}"),
        ("words = {themes = 2}\ntemperature = 1", "unknown key [writer] temperature"),
        ("words = {themes = 2}\nin_text = ['mood']", "in_text has mood, which is not written"),
        ("[writer.user]\nwords = {portrait = 2}", "portrait is the text itself"),
        ("[writer.user]\nwords = {gender = 2}", "gender is a column of the data set"),
        ("[writer.user]\nprompt = 'Who?'", "no {text}"),
        (
            "words = {likes = 2}\n[writer.user]\nwords = {likes = 2}",
            "likes is written of items and of users",
        ),
        ("words = {themes = 2}\nserver = {url = 'here'}", "[writer.server] url"),
    ],
)
def test_what_cannot_be_meant_is_named(tmp_path: Path, keys: str, said: str) -> None:
    with pytest.raises(SchemaError) as refused:
        read(tmp_path, f'[writer]\nmodel = "any"\n{keys}\n')
    assert said in str(refused.value)
