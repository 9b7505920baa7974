"""Which changes of a dataset.toml make features wrong or old, and what is another data set."""

import shutil
from pathlib import Path

import polars as pl
import pytest

from feast_fusion.errors import SchemaError
from feast_fusion.files import private_folder
from feast_fusion.sealed_json import write_json
from intake.dataset_file import load_dataset
from intake.preparation import (
    changes_since,
    describe_preparation,
    describe_tables,
    require_same_data_set,
    require_unchanged_sources,
)
from intake.workspace import Workspace, open_workspace
from tests.datasets import make_films

WRONG = [
    ('title = "title"', 'title = "genres"', "[items] title ('title' -> 'genres')"),
    ('categorical = ["gender"]', "", "[users] categorical (['gender'] -> nothing)"),
    ('positive = "value >= 4"', 'positive = "value > 4"', "[interactions] positive"),
    ("history = 10", "history = 12", "[activity] history (10 -> 12)"),
    ("explicit = true", "explicit = true\ncontext = {clock = ['hour']}", "[interactions] context"),
    ("explicit = true", "explicit = true\ntypes = {view = {weight = 2.0}}", "[interactions] types"),
    ("[encoder]", "[interest]\ndecay = 0.5\n[encoder]", "[interest] decay (nothing -> 0.5)"),
    ("[encoder]", "[cleaning]\ndigits = true\n[encoder]", "[cleaning] digits (nothing -> True)"),
]
OLD = [
    ('"items.parquet"', '"./more/items.csv"', "path ('items.parquet' -> 'more/items.csv')"),
    ('path = "users.parquet"', 'path = "u.csv"\nseparator = ";"', "[users] separator"),
    ("explicit = true", "explicit = true\nvalue_range = [0, 9]", "[interactions] value_range"),
]
NEITHER = [
    (
        "[encoder]",
        "[ranker]\nepochs = 3\n[live]\nuser_ttl_s = 9\n[variety]\ndiversity = 0.1\n[encoder]",
    ),
    ("[encoder]", "[candidates]\nrefit_every = 100\n[encoder]"),
    ('numeric = ["year"]', 'numeric = [ "year" ]'),
    ("[activity]", "[activity]\nwindow_days = [7, 30]"),
]


@pytest.fixture(scope="module")
def description(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_films(tmp_path_factory.mktemp("films"), n_users=3, n_items=3, n_events=9)


def changed(description: Path, before: str, after: str) -> Path:
    text = description.read_text()
    assert text.count(before) == 1
    other = description.with_name("changed.toml")
    other.write_text(text.replace(before, after))
    return other


@pytest.mark.parametrize(("before", "after", "told"), WRONG)
def test_what_makes_features_wrong(description: Path, before: str, after: str, told: str) -> None:
    said, now = describe_tables(load_dataset(description)), changed(description, before, after)
    wrong = changes_since(load_dataset(now), said, "wrong")
    assert wrong is not None and told in wrong and str(now) in wrong
    assert wrong.endswith("Run feast-fusion run.")
    assert changes_since(load_dataset(now), said, "old") is None


@pytest.mark.parametrize(("before", "after", "told"), OLD)
def test_what_makes_them_old(description: Path, before: str, after: str, told: str) -> None:
    said = describe_tables(load_dataset(description))
    dataset = load_dataset(changed(description, before, after))
    assert told in (changes_since(dataset, said, "old") or "")
    assert changes_since(dataset, said, "wrong") is None


@pytest.mark.parametrize(("before", "after"), NEITHER)
def test_what_changes_nothing_prepared(description: Path, before: str, after: str) -> None:
    said = describe_tables(load_dataset(description))
    assert describe_tables(load_dataset(changed(description, before, after))) == said


@pytest.mark.parametrize(
    ("key", "effect"),
    [("decay", "wrong"), ("interest_weight", "wrong"), ("weight", None), ("objective", None)],
)
def test_what_an_event_type_says_of_features(
    description: Path, key: str, effect: str | None
) -> None:
    def typed(value: float) -> Path:
        types = f"explicit = true\ntypes = {{view = {{{key} = {value}}}}}"
        return changed(description, "explicit = true", types)

    said = describe_tables(load_dataset(typed(0.5)))
    wrong = changes_since(load_dataset(typed(0.25)), said, "wrong")
    assert (wrong is not None and f"'{key}': 0.25" in wrong) is (effect == "wrong")


def test_many_changes_are_counted_and_long_values_cut(description: Path) -> None:
    dataset = load_dataset(description)
    text = "x" * 200
    said = {"items": dict.fromkeys(("title", "text", "numeric", "categorical", "hidden"), text)}
    wrong = changes_since(dataset, said, "wrong")
    assert wrong is not None and text not in wrong
    assert "and 8 more. Run" in wrong  # 5 of items, 2 each of users, interactions and activity


def test_a_password_is_not_noted(description: Path) -> None:
    where = 'query = "SELECT 1"\ndatabase = "postgresql://me:secret@host/shop"'
    dataset = load_dataset(changed(description, 'path = "ratings.parquet"', where))
    said = describe_tables(dataset)
    assert said["interactions"]["database"] == "postgresql://host/shop"
    assert "secret" not in str(said)


def prepared(description: Path, home: Path) -> Workspace:
    """A home with the note that `prepare` leaves, and nothing else."""
    workspace = open_workspace(description, home)
    note = describe_preparation(workspace).model_dump(mode="json")
    private_folder(workspace.sources)
    write_json(workspace.manifest, {"preparation": note})
    return workspace


def test_sources_are_refused_once_they_are_described_otherwise(tmp_path: Path) -> None:
    description = make_films(tmp_path / "data", n_users=3, n_items=3, n_events=9)
    workspace = prepared(description, tmp_path / "home")
    require_unchanged_sources(workspace)
    other = changed(description, "snapshot_every = 8", "snapshot_every = 9")
    with pytest.raises(SchemaError, match=r"\[activity\] snapshot_every \(8 -> 9\)"):
        require_unchanged_sources(open_workspace(other, workspace.home))
    workspace.manifest.write_text("{}")  # damaged: whoever needs it says so
    require_unchanged_sources(open_workspace(other, workspace.home))


def test_another_data_set_of_the_name_is_refused_and_a_moved_one_is_not(tmp_path: Path) -> None:
    one = make_films(tmp_path / "one", n_users=3, n_items=3, n_events=9)
    home = prepared(one, tmp_path / "home").home
    copy = shutil.copytree(one.parent, tmp_path / "copy") / one.name
    require_same_data_set(open_workspace(copy, home))
    ratings = copy.with_name("ratings.parquet")
    pl.read_parquet(ratings).head(8).write_parquet(ratings)
    other = open_workspace(copy, home)
    with pytest.raises(SchemaError, match="under the same name") as error:
        require_same_data_set(other)
    assert str(one) in str(error.value) and str(copy) in str(error.value)
    require_same_data_set(open_workspace(copy, tmp_path / "another home"))
    shutil.copytree(home, tmp_path / "copied")
    require_same_data_set(open_workspace(copy, tmp_path / "copied"))
    one.unlink()  # it has moved, and lost a row
    require_same_data_set(other)
