"""A dataset.toml is read exactly, and what is wrong with it is named."""

from pathlib import Path

import pytest

from feast_fusion.errors import SchemaError
from intake.dataset_file import load_dataset

MINIMAL = """
name = "shop"
[items]
path = "items.parquet"
title = "title"
text = "{title}. {kind}."
[interactions]
path = "events.parquet"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "dataset.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    dataset = load_dataset(write(tmp_path, MINIMAL))
    assert dataset.items.path == tmp_path / "items.parquet"
    assert dataset.interactions.path == tmp_path / "events.parquet"
    assert dataset.users is None
    assert dataset.items.text_columns == ("title", "kind")
    assert (dataset.activity.history, dataset.activity.snapshot_every) == (50, 10)


def test_a_type_of_events_has_what_it_names_and_the_defaults_for_the_rest(tmp_path: Path) -> None:
    text = MINIMAL + "[interest]\ndecay = 0.8\n[interest.types.view]\ndecay = 0.95\n"
    interest = load_dataset(write(tmp_path, text + "[interest.types.buy]\nweight = 2\n")).interest
    assert interest.rule(True, None) == interest.rule(True, "never named") == (1.0, 0.8)
    assert interest.rule(True, "view") == (1.0, 0.95)
    assert interest.rule(False, "view") == (-0.5, 0.95)
    assert interest.rule(True, "buy") == interest.rule(False, "buy") == (2.0, 0.8)


def test_the_example_is_valid() -> None:
    root = Path(__file__).parents[2]
    dataset = load_dataset(root / "examples" / "movielens" / "dataset.toml")
    assert dataset.name == "movielens"
    assert dataset.users is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[items]", "[items]\ncolour = 1"), "unknown key [items] colour; expected one of"),
        (('name = "shop"', 'name = "shop"\nversion = 2'), "unknown key version"),
        (('title = "title"', ""), "missing key [items] title"),
        (('name = "shop"', 'name = "My Shop"'), "name: got 'My Shop'"),
        (("[interactions]", "[interactions]\nexplicit = true"), "explicit = true needs positive"),
        (("[interactions]", "[activity]\nhistory = 0\n[interactions]"), "[activity] history"),
        (
            ("[interactions]", "[interest.types.view]\nweigth = 1\n[interactions]"),
            "unknown key [interest.types.view] weigth; expected one of decay, weight",
        ),
        (
            ("[interactions]", "[interest.types.view]\ndecay = 1.0\n[interactions]"),
            "[interest.types.view] decay: got 1.0",
        ),
        (("[interactions]", "[interest]\npositive_weight = inf\n[interactions]"), "got inf"),
        (("[items]", "[items"), "expected valid TOML"),
    ],
)
def test_defects_are_named(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = write(tmp_path, MINIMAL.replace(*change))
    with pytest.raises(SchemaError) as error:
        load_dataset(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_a_missing_file_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"no such file.*--dataset"):
        load_dataset(tmp_path / "absent.toml")
