"""A dataset.toml is read exactly, and what is wrong with it is named."""

import tomllib
from pathlib import Path

import pytest

from feast_fusion.errors import SchemaError
from intake.changed_settings import change_settings
from intake.dataset import Dataset, Interactions
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
    text = MINIMAL + "[interest]\ndecay = 0.8\n[interactions.types.view]\ndecay = 0.95\n"
    text += "[interactions.types.buy]\ninterest_weight = 2\n"
    rule = load_dataset(write(tmp_path, text)).interest_rule
    assert rule(True, None) == rule(True, "never named") == (1.0, 0.8)
    assert rule(True, "view") == (1.0, 0.95)
    assert rule(False, "view") == (-0.5, 0.95)
    assert rule(True, "buy") == rule(False, "buy") == (2.0, 0.8)


def test_the_example_is_valid() -> None:
    root = Path(__file__).parents[2]
    path = root / "examples" / "movielens" / "dataset.toml"
    dataset = load_dataset(path)
    assert dataset.name == "movielens"
    assert dataset.users is not None
    written = tomllib.loads(path.read_text())
    for section in ("ranker", "candidates", "variety"):
        shown = Dataset.model_fields[section].get_default().model_dump(mode="json")
        assert written[section] == shown, "every setting is shown, with its default"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[items]", "[items]\ncolour = 1"), "unknown key [items] colour; expected one of avail"),
        (
            ("[items]", "[items]\ncatagorical = []"),
            "[items] catagorical; did you mean categorical?",
        ),
        (
            ("[items]", "[items]\nhistory = 9"),
            "unknown key [items] history; it is a key of [interactions.types.<name>], [activity]",
        ),
        (
            ("[interactions]", "[intractions]"),
            "unknown key intractions; did you mean interactions?",
        ),
        (('name = "shop"', 'name = "shop"\nversion = 2'), "unknown key version"),
        (('title = "title"', ""), "missing key [items] title"),
        (('title = "title"', 'title = "item_id"'), "item_id is the key and no feature; copy it"),
        (('name = "shop"', 'name = "My Shop"'), "name: got 'My Shop'"),
        (("[interactions]", "[interactions]\nexplicit = true"), "explicit = true needs positive"),
        (("[interactions]", "[activity]\nhistory = 0\n[interactions]"), "[activity] history"),
        (
            ("[interactions]", "[interactions.types.view]\nweigth = 1\n[interactions]"),
            "unknown key [interactions.types.view] weigth; did you mean weight?",
        ),
        (
            ("[interactions]", "[interactions.types.view]\ndecay = 1.0\n[interactions]"),
            "[interactions.types.view] decay: got 1.0",
        ),
        (
            ("[interactions]", "[interactions.types.view]\nweight = -1.0\n[interactions]"),
            "[interactions.types.view] weight: got -1.0",
        ),
        (
            (
                "[interactions]",
                "[interactions.types]\nview = {positive = false}\nbuy = {}\n[interactions]",
            ),
            "positive is missing for 'buy'; say it of all or of none",
        ),
        (
            (
                "[interactions]",
                "[interactions.types]\nbuy = {positive = true}\n[interactions]\n"
                "positive = 'value > 3'",
            ),
            "positive is said by [interactions.types] too",
        ),
        (
            (
                "[interactions]",
                "[interactions.types]\nbuy = {positive = true}\n[interactions]\nexplicit = true",
            ),
            "explicit is said by positive of [interactions.types]",
        ),
        (
            (
                "[interactions]",
                "[interactions.types]\nskip = {positive = false}\n[interactions]\nexplicit = false",
            ),
            "explicit is said by positive of [interactions.types]",
        ),
        (
            ("[interactions]", "[interactions.types]\nbuy = 3\n[interactions]"),
            "[interactions.types] buy: got 3",
        ),
        (("[interactions]", "[split]\ntest = -0.1\n[interactions]"), "[split] test: got -0.1"),
        (("[interactions]", "[split]\ntest = 1.0\n[interactions]"), "[split] test: got 1.0"),
        (("[interactions]", "[split]\nby = 'users'\n[interactions]"), "[split] by: got 'users'"),
        (
            (
                "[interactions]",
                "[split]\nby = 'leave_one_out'\ntest = 0.2\n[interactions]",
            ),
            "test cannot be used with by = 'leave_one_out'",
        ),
        (
            (
                "[interactions]",
                "[split]\ntest = 0.2\ntest_from = 2024-01-01\n[interactions]",
            ),
            "test and test_from are two answers",
        ),
        (
            (
                "[interactions]",
                "[split]\ntest_from = 2024-01-01\nvalidation_from = 2024-02-01\n[interactions]",
            ),
            "validation_from must lie before test_from",
        ),
        (
            ("[interactions]", "[split]\ntest_from = 2024-01-01T00:00:00\n[interactions]"),
            "[split] test_from: got",
        ),
        (
            ("[interactions]", "[interest.types.view]\ndecay = 0.5\n[interactions]"),
            "unknown key [interest] types",
        ),
        (("[interactions]", "[interest]\npositive_weight = inf\n[interactions]"), "got inf"),
        (
            ("[interactions]", "[candidates.sequence]\nwdth = 8\n[interactions]"),
            "unknown key [candidates.sequence] wdth; did you mean width?",
        ),
        (
            ("[interactions]", "[ranker]\nfusion = 'sum'\n[interactions]"),
            "[ranker] fusion: got 'sum'; Input should be 'concatenation'",
        ),
        (
            ("[interactions]", "[variety]\nmax_per = {genre = 2}\n[interactions]"),
            "[variety] names 'genre', expected a categorical column of items: there is none",
        ),
        (
            (
                "[interactions]",
                "categorical = ['genres']\n[variety]\nmax_per = {genre = 2}\n[interactions]",
            ),
            "expected a categorical column of items: genres. Did you mean 'genres'?",
        ),
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


def test_settings_change_for_one_run(tmp_path: Path) -> None:
    dataset = load_dataset(write(tmp_path, MINIMAL + "[ranker]\nwidth = 64\n"))
    changes = [
        "ranker.fusion=weighted",
        "ranker.epochs = 5",
        'ranker.modalities=["text"]',
        "candidates.sequence.dropout=0.5",
    ]
    changed = change_settings(dataset, changes)
    assert (changed.ranker.fusion, changed.ranker.epochs) == ("weighted", 5)
    assert (changed.ranker.width, changed.ranker.modalities) == (64, ("text",))
    assert changed.candidates.sequence.dropout == 0.5
    assert change_settings(dataset, []) == dataset
    assert dataset.ranker.fusion == "gated"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("ranker.fusoin=gated", "unknown key [ranker] fusoin; did you mean fusion?"),
        ("ranker.epochs=0", "[ranker] epochs: got 0"),
        ("ranker.epochs=many", "[ranker] epochs: got 'many'"),
        ("ranker.epochs", "got ranker.epochs, expected ranker.KEY=VALUE"),
        ("epochs=3", "got epochs=3, expected ranker.KEY=VALUE"),
        ("activity.history=3", "expected ranker.KEY=VALUE or candidates.KEY=VALUE"),
        ("candidates.refit_every=10", "expected a setting of the fit"),
        ("ranker.negatives=1", "expected a setting of the fit"),
        ("candidates.seqence.width=8", "expected a section that dataset.toml can have"),
        ("candidates.depth.x=8", "expected a section that dataset.toml can have"),
        ("candidates.sequence.heads=3", "[candidates.sequence] heads: got 3; Value error, it must"),
    ],
)
def test_a_change_that_cannot_be_is_refused_by_name(
    tmp_path: Path, change: str, message: str
) -> None:
    dataset = load_dataset(write(tmp_path, MINIMAL))
    with pytest.raises(SchemaError) as error:
        change_settings(dataset, [change])
    assert str(error.value).startswith("--set")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("positive", "is_rated"),
    [
        (None, False),
        ("value >= 4", True),
        ("event_type = 'purchase'", False),
        ("device = 'phone' and value > 0", True),
    ],
)
def test_events_are_rated_where_their_value_says_what_is_liked(
    positive: str | None, is_rated: bool
) -> None:
    assert Interactions(path="events.parquet", positive=positive).is_rated is is_rated
