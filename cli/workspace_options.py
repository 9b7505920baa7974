"""What every command shares: which data set, and which home."""

import shutil
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

import feature_repo
from cli.suggested import note_given
from feast_fusion.files import private_folder
from intake.preparation import require_same_data_set
from intake.workspace import Workspace, open_workspace

PROJECT = Path(feature_repo.__file__).parents[1]  # a clone, where the source code lies

_P = ParamSpec("_P")
_R = TypeVar("_R")


def with_workspace(
    command: Callable[Concatenate[Workspace, _P], _R],
) -> Callable[..., _R]:
    """Adds --dataset, --home and other places to a command, which gets the workspace they name."""

    @click.option(
        "--dataset",
        envvar="FUSION_DATASET",
        type=click.Path(path_type=Path),
        help="The dataset.toml to work on (FUSION_DATASET). Default: the MovieLens example.",
    )
    @click.option(
        "--home",
        envvar="FUSION_HOME",
        type=click.Path(path_type=Path),
        help="Where everything produced lives (FUSION_HOME). Default: .fusion, searched upwards.",
    )
    @click.option(
        "--tables",
        envvar="FUSION_TABLES",
        metavar="iceberg://CATALOG/NAMESPACE",
        help="Keep the vectors' history in Iceberg tables (FUSION_TABLES). Default: in folders.",
    )
    @click.option(
        "--models",
        envvar="FUSION_MODELS",
        metavar="PLACE",
        help="Share trained versions with other hosts, in a folder or at s3://... (FUSION_MODELS).",
    )
    @wraps(command)
    def opened(
        *args: Any,
        dataset: Path | None,
        home: Path | None,
        tables: str | None,
        models: str | None,
        **options: Any,
    ) -> _R:
        note_given(click.get_current_context(), "dataset", "home", "tables", "models")
        return command(find_workspace(dataset, home, tables, models), *args, **options)

    return opened


def find_workspace(
    dataset: Path | None = None,
    home: Path | None = None,
    tables: str | None = None,
    models: str | None = None,
) -> Workspace:
    """The workspace that a command's options name; the MovieLens example in the nearest home.

    Raises
    ------
    SchemaError
        As `open_workspace` and `require_same_data_set`.
    """
    home = home or default_home()
    found = open_workspace(dataset or example_dataset(home), home, tables, models or None)
    require_same_data_set(found)
    return found


def example_dataset(home: Path) -> Path:
    """The MovieLens example's description: in a clone its own, else a copy in `home`.

    Its data is written beside it, for which the folder of an installed package is no place.
    """
    folder = PROJECT / "examples" / "movielens"
    if (PROJECT / "pyproject.toml").is_file():
        return folder / "dataset.toml"
    copy = home / "examples" / "movielens"
    private_folder(home)
    shutil.copytree(folder, copy, dirs_exist_ok=True)
    return copy / "dataset.toml"


def default_home() -> Path:
    """`.fusion` here or in the nearest folder above that has one."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / ".fusion").is_dir():
            return folder / ".fusion"
    return here / ".fusion"
