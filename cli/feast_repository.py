"""Feast on a workspace: its variables (`feast-fusion env`), its store, its command."""

import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING
from urllib.parse import quote

import click
import yaml

import feature_repo
from cli.redis import redis_of, running_redis
from cli.suggested import as_typed
from cli.terminal import say, shows_bars
from cli.workspace_options import with_workspace
from feast_fusion.errors import FeastFusionError, StoreUnavailableError
from intake.preparation import (
    Said,
    changes_since,
    read_preparation,
    require_unchanged,
    require_unchanged_sources,
)
from intake.workspace import Workspace
from transformations.names import DESCRIPTION_TAG

if TYPE_CHECKING:
    from feast import FeatureStore, RepoConfig

    from feast_fusion.history.runner import Runner

REPOSITORY = Path(feature_repo.__file__).parent

_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# Names of views in the order of their turn, and what the step is called.
_SAYS_NOTHING = re.compile(
    r"Applying changes|Deploying infrastructure|Materializing |\S+( from .+)?:$|\s*$"
)
NO_REDIS = "localhost:0"  # commands that read history only never connect


@click.command()
@with_workspace
def env(workspace: Workspace) -> None:
    """Print what `feast` needs to know, as shell exports.

    \b
    feast-fusion redis start
    eval "$(feast-fusion env)"
    cd feature_repo && feast apply && feast materialize-incremental 2026-01-01T00:00:00
    """
    redis = running_redis(workspace)
    if redis is None:
        raise StoreUnavailableError(
            "Redis: got none running, expected REDIS_URL or the embedded one. "
            "Run feast-fusion redis start first."
        )
    for name, value in environment(workspace, redis).items():
        click.echo(f"export {name}={shlex.quote(value)}")


def environment(workspace: Workspace, redis: str = NO_REDIS) -> dict[str, str]:
    """The variables that feature_store.yaml and the declarations read."""
    tables = {} if workspace.tables is None else {"FUSION_TABLES": workspace.tables}
    return tables | {
        "FUSION_DATASET": str(workspace.dataset.path),
        "FUSION_HOME": str(workspace.home),
        "FUSION_PROJECT": workspace.dataset.name,
        "FUSION_REGISTRY": quote(str(workspace.registry)),  # it becomes a part of a URL
        "FUSION_REDIS": redis,
        # Feast's own switch for its notices about batch and on-demand views: a dozen per command,
        # which would hide the lines that matter.
        "IS_TEST": "True",
    }


def open_store(workspace: Workspace, redis: str = NO_REDIS) -> "FeatureStore":
    """Feast on this workspace.

    Raises
    ------
    StoreUnavailableError
        Nothing was applied yet, or the registry is damaged.
    SchemaError
        dataset.toml says something else of the tables than when they were prepared or applied.
    FeastFusionError
        What was applied are the files of another home, or sinks kept elsewhere.
    """
    require_run(workspace)
    store = _read_registry(workspace, redis)
    if store is None:
        raise StoreUnavailableError(
            f"{workspace.registry}: got a damaged file, expected Feast's registry. "
            "Run feast-fusion run, which sets it aside and applies everything again."
        )
    _refuse_another_home(store, workspace)
    if (applied := applied_description(store)) is not None:
        require_unchanged(workspace.dataset, applied)
    return store


@contextmanager
def running_store(workspace: Workspace, *, must_answer: bool = True) -> Iterator["FeatureStore"]:
    """Feast on this workspace and its Redis, which runs meanwhile.

    `must_answer` is of `redis_of`; errors are its own and those of `open_store`.
    """
    require_run(workspace)  # before a Redis makes a folder where nothing was run
    with redis_of(workspace, must_answer=must_answer) as redis:
        yield open_store(workspace, redis)


def require_run(workspace: Workspace) -> None:
    """Refuse a home in which this data set, as dataset.toml describes it, was never run.

    Raises
    ------
    StoreUnavailableError
        Nothing was applied yet.
    SchemaError
        What is prepared was described otherwise.
    """
    if not workspace.registry.is_file():
        raise StoreUnavailableError(
            f"data set {workspace.dataset.name} was never run in the home {workspace.home}. Run "
            "feast-fusion run, or name the home in which it was run with --home."
        )
    require_unchanged_sources(workspace)


def say_what_is_old(workspace: Workspace) -> None:
    """A line for the person where the tables are described otherwise than when they were read."""
    made = read_preparation(workspace)
    if made and (changed := changes_since(workspace.dataset, made.said, "old")):
        say(as_typed(f"Answers still follow the former description: {changed}"))


def applied_description(store: "FeatureStore") -> Said | None:
    """What dataset.toml said of the tables at the last `feast apply`; None if nothing is known."""
    projects = {each.name: each for each in store.registry.list_projects(allow_cache=True)}
    applied = projects.get(store.project)
    text = None if applied is None else applied.tags.get(DESCRIPTION_TAG)
    return None if text is None else json.loads(text)


def is_damaged_registry(workspace: Workspace) -> bool:
    """Whether Feast cannot read all that the registry holds."""
    return _read_registry(workspace, NO_REDIS) is None


def _read_registry(workspace: Workspace, redis: str) -> "FeatureStore | None":
    """A store that has read every object of its registry; None where that is damaged."""
    from feast import FeatureStore  # seconds to import: only where it is used
    from google.protobuf.message import DecodeError

    if not workspace.registry.stat().st_size:
        return None
    try:
        with closing(sqlite3.connect(workspace.registry)) as connection:
            if connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                return None
        store = FeatureStore(config=repo_config(workspace, redis))
        store.registry.proto()
    except DecodeError:
        return None
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode not in _DAMAGE:
            raise
        return None
    return store


def repo_config(workspace: Workspace, redis: str = NO_REDIS) -> "RepoConfig":
    """feature_store.yaml with the variables of this workspace."""
    from feast import RepoConfig

    # Feast's notices that these views are alpha; its import puts them before all other filters.
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="feast")
    text = (REPOSITORY / "feature_store.yaml").read_text(encoding="utf-8")
    known = yaml.safe_load(Template(text).substitute(environment(workspace, redis)))
    config = RepoConfig(**known)
    config.repo_path = REPOSITORY
    return config


def declared_runner(workspace: Workspace) -> "Runner":
    """Who works, as `batch_engine` in feature_store.yaml says; this process with another engine.

    Raises
    ------
    MissingExtraError
        It needs packages that are not installed.
    """
    from feast_fusion.history.runner import LocalRunnerConfig, open_runner
    from feast_fusion.history_engine import HistoryEngineConfig

    config = repo_config(workspace)
    engine = config.batch_engine
    is_ours = isinstance(engine, HistoryEngineConfig)
    return open_runner(engine.runner if is_ours else LocalRunnerConfig(), config)


def _refuse_another_home(store: "FeatureStore", workspace: Workspace) -> None:
    """The registry names its files by their whole paths, which a copied or moved home still has."""
    for source in store.list_data_sources():
        path = getattr(source, "path", None) or str(workspace.root)
        if "://" not in path and not Path(path).is_relative_to(workspace.root):
            place, why = str(workspace.root), "the home was copied or moved"
        elif _is_sink(path, source.name, workspace) and path != workspace.sink(source.name):
            place, why = workspace.sink(source.name), "FUSION_TABLES was another"
        else:
            continue
        raise FeastFusionError(
            f"{workspace.registry}: got the source {source.name} at {path}, expected one in "
            f"{place}: {why}. Run feast-fusion run, which applies it here and keeps what is "
            "encoded and trained."
        )


def _is_sink(path: str, name: str, workspace: Workspace) -> bool:
    """Whether `path` is where this data set keeps the history of a view, now or before."""
    return (
        path == str(workspace.sinks / name)
        or re.fullmatch(rf"iceberg://.*\.{re.escape(name)}", path) is not None
    )


def feast(workspace: Workspace, redis: str, *arguments: str) -> None:
    """Run the real `feast` command on this workspace, and say what it changed.

    Raises
    ------
    FeastFusionError
        It failed; its own message has been printed.
    """
    # -P: a definitions.py in the folder of the caller is not ours
    quick = [sys.executable, "-P", "-m", "feast_fusion.feast_command"]
    command = [*quick, "--chdir", str(REPOSITORY), *arguments]
    variables = environment(workspace, redis) | ({} if shows_bars() else {"TQDM_DISABLE": "1"})
    done = subprocess.run(
        command, env=os.environ | variables, stdout=subprocess.PIPE, text=True, check=False
    )
    lines = click.unstyle(done.stdout).splitlines()  # Feast colours what goes into a file too
    if done.returncode:
        click.echo("\n".join(lines), err=True)
        raise FeastFusionError(
            f"feast {' '.join(arguments)}: got exit code {done.returncode}, expected 0. "
            "Correct what its message above says."
        )
    say(*(line for line in lines if not _SAYS_NOTHING.match(line)))


def feast_time(instant: datetime | None = None) -> str:
    """An instant, by default now, as `feast` takes it: to the microsecond, so no event is lost."""
    utc = (instant or datetime.now(UTC)).astimezone(UTC)
    return utc.replace(tzinfo=None).isoformat(timespec="microseconds")
