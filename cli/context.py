"""What every command shares: which data set, which home, which Redis, and Feast on top of them."""

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click
import yaml
from tqdm import tqdm

import feature_repo
from cli.embedded_redis import connection_string, embedded_redis, redis_status
from feast_fusion.errors import FeastFusionError, StoreUnavailableError, schema_error
from intake.workspace import Workspace, open_workspace

REPOSITORY = Path(feature_repo.__file__).parent
SERVICE = "fusion_ranker_v1"

if TYPE_CHECKING:
    from feast import FeatureStore

_PROJECT = REPOSITORY.parent
_NO_REDIS = "localhost:0"  # commands that read history only never connect
_P = ParamSpec("_P")
_R = TypeVar("_R")


def with_workspace(
    command: Callable[Concatenate[Workspace, _P], _R],
) -> Callable[..., _R]:
    """Adds --dataset and --home to a command, which then receives the workspace they name."""

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
    @wraps(command)
    def opened(*args: Any, dataset: Path | None, home: Path | None, **options: Any) -> _R:
        workspace = open_workspace(dataset or example_dataset(), home or _default_home())
        return command(workspace, *args, **options)

    return opened


def example_dataset() -> Path:
    """The MovieLens example's description, which lies beside the source code.

    Raises
    ------
    SchemaError
        The package was installed without the examples.
    """
    path = _PROJECT / "examples" / "movielens" / "dataset.toml"
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


def environment(workspace: Workspace, redis: str = _NO_REDIS) -> dict[str, str]:
    """The variables that feature_store.yaml and the declarations read."""
    return {
        "FUSION_DATASET": str(workspace.dataset.path),
        "FUSION_HOME": str(workspace.home),
        "FUSION_PROJECT": workspace.dataset.name,
        "FUSION_REGISTRY": str(workspace.registry),
        "FUSION_REDIS": redis,
    }


def open_store(workspace: Workspace, redis: str = _NO_REDIS) -> "FeatureStore":
    """Feast on this workspace.

    Raises
    ------
    StoreUnavailableError
        Nothing was applied yet.
    """
    if not workspace.registry.is_file():
        raise StoreUnavailableError(
            f"{workspace.registry}: got no such file, expected Feast's registry. "
            "Run feast-fusion run, or feast apply."
        )
    from feast import FeatureStore, RepoConfig  # seconds to import: only where it is used

    # Feast's notices that these views are alpha; its import puts them before all other filters.
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="feast")
    text = (REPOSITORY / "feature_store.yaml").read_text(encoding="utf-8")
    known = yaml.safe_load(Template(text).substitute(environment(workspace, redis)))
    config = RepoConfig(**known)
    config.repo_path = REPOSITORY
    return FeatureStore(config=config)


@contextmanager
def redis_of(workspace: Workspace) -> Iterator[str]:
    """Feast's connection string of REDIS_URL, else of the embedded Redis, running meanwhile."""
    url = os.environ.get("REDIS_URL")
    if url:
        yield connection_string(url)
        return
    workspace.redis.mkdir(parents=True, exist_ok=True)
    with embedded_redis(workspace.redis) as running:
        yield connection_string(running.url)


def running_redis(workspace: Workspace) -> str | None:
    """Feast's connection string of REDIS_URL or of a running embedded Redis, else None."""
    url = os.environ.get("REDIS_URL")
    if url:
        return connection_string(url)
    running = redis_status(workspace.redis)
    return connection_string(running.url) if running else None


def feast(workspace: Workspace, redis: str, *arguments: str) -> None:
    """Run the real `feast` command on this workspace, its output going to ours.

    Raises
    ------
    FeastFusionError
        It failed; its own message has been printed.
    """
    command = [str(Path(sys.executable).parent / "feast"), "--chdir", str(REPOSITORY), *arguments]
    # IS_TEST is Feast's own switch for its notices about batch and on-demand views: a dozen per
    # command, which would hide the lines that matter.
    variables = os.environ | environment(workspace, redis) | {"IS_TEST": "True"}
    done = subprocess.run(command, env=variables, check=False)
    if done.returncode:
        raise FeastFusionError(
            f"feast {' '.join(arguments)}: exit code {done.returncode}; see its message above."
        )


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on standard error, moved by calling `(what, done, total)`."""
    with tqdm(desc=label, leave=False, ncols=80) as bar:

        def advance(what: str, done: int, total: int) -> None:
            bar.set_description(f"{label}: {what}", refresh=False)
            bar.total = total
            bar.update(done - bar.n)

        yield advance


def say(message: str) -> None:
    """One line for the person at the terminal."""
    click.echo(message)


def then(message: str) -> None:
    """The line that says what to do next."""
    click.secho(message, fg="cyan")
