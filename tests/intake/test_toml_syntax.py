"""A line that is no TOML is shown, and where it can be told, as it should be."""

import tomllib
from pathlib import Path

import pytest

from feast_fusion.errors import SchemaError
from intake.dataset_file import load_dataset

MEANT = {
    "title = label": 'Text needs quotes: `title = "label"`',
    "numeric = [abv, year, 3]": 'Text needs quotes: `numeric = ["abv", "year", 3]`',
    "columns = {item_id = sku, n = 4} # ours": '{item_id = "sku", n = 4} # ours`',
    "path = ../wines 2024.csv": '`path = "../wines 2024.csv"`',
    "positive = value >= 4": '`positive = "value >= 4"`',
    "text = {name}. {style}.": '`text = "{name}. {style}."`',
    "title = \u201clabel\u201d": 'Quotes are straight: `title = "label"`',
    "explicit = True": "small letters: `explicit = true`",
    'title: "label"': 'stand around =: `title = "label"`',
    'path = "C:\\wines\\new.csv"': "single quotes: `path = 'C:\\wines\\new.csv'`",
    "path = C:\\wines\\new.csv": "`path = 'C:\\wines\\new.csv'`",
    'title = "label': 'What is opened is closed: `title = "label"`',
    "[users": "What is opened is closed: `[users]`",
}
OTHERS = {
    "hidden = None": "remove the line",
    "title =": "remove the line",
    'name = "again"': "there twice, or a line before it is not closed",
    "name shop": "Write a key, = and a value",
    "time = {zone = UTC,": "close what the line opens",
}


def refusal(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SchemaError) as error:
        load_dataset(path)
    return str(error.value)


@pytest.mark.parametrize("line", [*MEANT, *OTHERS])
@pytest.mark.parametrize("rest", ["", "[split]\ntest = 0.2\n"])
def test_the_line_is_named_and_repaired(line: str, rest: str, tmp_path: Path) -> None:
    said = refusal(tmp_path / "dataset.toml", f'# A shop\nname = "shop"\n{line}\n{rest}')
    assert f"dataset.toml: line 3: got `{line}` (" in said
    assert "expected valid TOML" in said
    assert (MEANT | OTHERS)[line] in said


@pytest.mark.parametrize("line", MEANT)
def test_a_repaired_line_is_toml(line: str, tmp_path: Path) -> None:
    said = refusal(tmp_path / "dataset.toml", line)
    tomllib.loads(said[said.rindex(": `") + 3 : -1])


def test_a_line_of_a_long_list_is_repaired_alone(tmp_path: Path) -> None:
    said = refusal(tmp_path / "dataset.toml", '[items]\nnumeric = [\n    "abv",\n    year,\n]\n')
    assert "line 4: got `year,` (" in said and 'Text needs quotes: `"year",`' in said


def test_a_file_in_another_encoding_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "dataset.toml"
    path.write_bytes('name = "café"'.encode("latin-1"))
    with pytest.raises(SchemaError, match=r"expected UTF-8\. Save the file as UTF-8"):
        load_dataset(path)
