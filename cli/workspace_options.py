"""What every command shares: which data set, and which home."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

import feature_repo
from feast_fusion.errors import schema_error
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
        workspace = open_workspace(
            dataset or example_dataset(), home or _default_home(), tables, models or None
        )
        return command(workspace, *args, **options)

    return opened


def example_dataset() -> Path:
    """The MovieLens example's description, which lies beside the source code.

    Raises
    ------
    SchemaError
        The package was installed without the examples.
    """
    path = PROJECT / "examples" / "movielens" / "dataset.toml"
    if not path.is_file():
        raise schema_error(
            "--dataset",
            got="none",
            expected="the path of a dataset.toml",
            remedy="The MovieLens example is only there in a clone; name your own data set.",
        )
    return path


def _default_home() -> Path:
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / ".fusion").is_dir():
            return folder / ".fusion"
    return here / ".fusion"
