"""What the sources of a home were prepared from, and what dataset.toml says otherwise since."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from feast_fusion.errors import SchemaError, schema_error
from feast_fusion.sealed_json import read_json
from intake.dataset import Dataset
from intake.tables.section import TableSection, without_password
from intake.workspace import Workspace

_TABLES = ("items", "users", "interactions")
# The sections by which features are what they are.
DESCRIBING = (*_TABLES, "activity", "cleaning", "interest")
# Where rows come from, which of them count and from when: without it the same features are older.
_OF_ROWS = {*TableSection.model_fields, "valid_from", "combine", "value_range"} - {
    "columns",
    "lists",
}
# Of an event type: models are trained and ordered by them, and no feature changes.
_OF_MODELS = frozenset({"weight", "objective"})
_SHOWN, _LONG = 3, 60

Said = Mapping[str, Mapping[str, Any]]
Effect = Literal["wrong", "old"]


class Preparation(BaseModel):
    """What the sources of a home were prepared from.

    Attributes
    ----------
    home : where
    dataset : the dataset.toml
    tables : SHA-256 of the content of each table, as `digest_table`
    said : what the dataset.toml said of them, as `describe_tables`
    """

    model_config = ConfigDict(frozen=True)

    home: Path
    dataset: Path
    tables: dict[str, str | None]
    said: dict[str, dict[str, Any]]


def describe_preparation(workspace: Workspace) -> Preparation:
    """What sources that are made now are prepared from; reads all tables."""
    dataset = workspace.dataset
    return Preparation(
        home=workspace.home,
        dataset=dataset.path,
        tables=_digest_tables(dataset),
        said=describe_tables(dataset),
    )


def read_preparation(workspace: Workspace) -> Preparation | None:
    """What the sources were prepared from; None where there are none, or nothing is known of it."""
    try:
        return Preparation(**read_json(workspace.manifest)["preparation"])
    except (SchemaError, KeyError, ValidationError):
        return None  # none, a damaged one, or one of another version: `run` makes it anew


def describe_tables(dataset: Dataset) -> dict[str, dict[str, Any]]:
    """By section what dataset.toml says of the tables, texts and features of events, as JSON.

    Defaults are left out. Files are named from the folder of the dataset.toml, so that it may move
    with them, and a database without its password.
    """
    said: dict[str, dict[str, Any]] = dataset.model_dump(
        mode="json", include={*DESCRIBING}, exclude_defaults=True
    )
    for name, section in _sections(dataset).items():
        said[name].update(_places(section, dataset.folder))
    for each in said["interactions"].get("types", {}).values():
        for key in _OF_MODELS:
            each.pop(key, None)
    return said


def changes_since(dataset: Dataset, said: Said, effect: Effect) -> str | None:
    """What dataset.toml says otherwise than when it said `said`, as a sentence with the remedy.

    effect : what the change makes of features from before: "wrong", or only "old"; None is the
        answer where no change does so
    """
    changes = [what for has, what in _changes(said, describe_tables(dataset)) if has == effect]
    if not changes:
        return None
    more = f", and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
    what = ", ".join(changes[:_SHOWN])
    return f"{dataset.path} has changed since the last run in {what}{more}. Run feast-fusion run."


def require_unchanged(dataset: Dataset, said: Said) -> None:
    """Refuse features that were made when dataset.toml said something else, `said`, of them.

    Raises
    ------
    SchemaError
        They would be wrong, and not only old.
    """
    wrong = changes_since(dataset, said, "wrong")
    if wrong:
        raise SchemaError(wrong)


def require_unchanged_sources(workspace: Workspace) -> None:
    """`require_unchanged` for the prepared sources, if there are any."""
    if (made := read_preparation(workspace)) is not None:
        require_unchanged(workspace.dataset, made.said)


def require_same_data_set(workspace: Workspace) -> None:
    """Refuse a home whose sources another data set of the same name has.

    Another dataset.toml is the same data set where its tables have the same content, or where the
    former one is gone: it has moved. So may have the home.

    Raises
    ------
    SchemaError
        It is another one.
    """
    made, dataset = read_preparation(workspace), workspace.dataset
    if made is None or made.dataset == dataset.path or not made.dataset.is_file():
        return
    if made.home != workspace.home or made.tables == _digest_tables(dataset):
        return
    raise schema_error(
        f"{workspace.root}",
        got=f"the data set {dataset.name!r} of {dataset.path}",
        expected=f"that of {made.dataset}, which was run here under the same name",
        remedy="Give one of them another name, or name another home with --home; if the data set "
        "has moved and grown, remove its former dataset.toml.",
    )


def _changes(before: Said, now: Said) -> Iterator[tuple[Effect, str]]:
    """Each key that says something else now, such as "[items] title ('name' -> 'title')"."""
    for section in sorted({*before, *now}):
        old, new = before.get(section, {}), now.get(section, {})
        for key in sorted({*old, *new}):
            if old.get(key) != new.get(key):
                effect: Effect = "old" if key in _OF_ROWS else "wrong"
                change = f"{_short(old, key)} -> {_short(new, key)}"
                yield effect, f"[{section}] {key} ({change})"


def _sections(dataset: Dataset) -> dict[str, TableSection]:
    found = {name: getattr(dataset, name) for name in _TABLES}
    return {name: section for name, section in found.items() if section is not None}


def _digest_tables(dataset: Dataset) -> dict[str, str | None]:
    from intake.tables.digest import digest_table  # DuckDB: only where tables are read

    sections = _sections(dataset)
    return {name: digest_table(each, dataset.folder) for name, each in sections.items()}


def _places(section: TableSection, folder: Path) -> dict[str, str]:
    path, database = section.path, section.database
    if isinstance(database, str):
        database = without_password(database)
    places = {"path": path, "database": database}
    return {
        key: os.path.relpath(place, folder) if isinstance(place, Path) else place
        for key, place in places.items()
        if place is not None
    }


def _short(section: Mapping[str, Any], key: str) -> str:
    text = repr(section[key]) if key in section else "nothing"
    return text if len(text) <= _LONG else f"{text[: _LONG - 3]}..."
