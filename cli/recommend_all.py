"""`feast-fusion recommend --all`: the answers of all users, as Parquet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cli.feast_repository import running_store
from cli.terminal import progress_bar, result, say
from intake.workspace import Workspace
from transformations.names import INTERACTIONS, USERS


def recommend_to_all(
    workspace: Workspace,
    folder: Path,
    n: int,
    asked: Mapping[str, Any],
) -> None:
    """Writes the top `n` of every user to `folder`, or goes on with what is there.

    Parameters
    ----------
    asked : options of `Recommender.recommend`, as JSON can have them

    Raises
    ------
    FeatureNotFoundError, SchemaError, StoreUnavailableError
        As `open_recommender` and `ExportedAnswers.write`.
    """
    from serving.assembly import open_recommender
    from serving.exported_answers import ExportedAnswers
    from training.promotions import Promotions

    users = _users(workspace)
    export = {**asked, "n": n, "model": Promotions(workspace).read().main}
    with (
        running_store(workspace) as store,
        open_recommender(workspace, store) as recommender,
        progress_bar("Recommend") as advance,
    ):
        parts = ExportedAnswers(folder, users, export).write(
            lambda some: recommender.recommend_each(some, n, **asked)
        )
        for n_done in parts:
            advance("users", n_done, len(users))
    say(f"{len(users):,} users in {folder}.")
    result(users=len(users), folder=folder)


def _users(workspace: Workspace) -> list[str]:
    """Everybody who has a profile or an event, ascending."""
    import pyarrow.compute as pc

    from feast_fusion.parquet.whole import read_parquet

    paths = [workspace.source(name) for name in (USERS, INTERACTIONS)]
    found: set[str] = set()
    for path in paths:
        if path.is_file():
            found |= {*pc.unique(read_parquet(path, ["user_id"])["user_id"]).to_pylist()}
    return sorted(found)


def require_one_kind(
    user: str | None, folder: Path | None, everybody: bool, **others: bool
) -> None:
    """Refuse options of the answer to one user together with `--all`, and neither of the two."""
    if user is None and not everybody:
        raise click.UsageError("got no USER, expected an id, or --all with --out FOLDER.")
    if user is not None and everybody:
        raise click.UsageError(f"got the user {user!r} and --all, expected one of the two.")
    if everybody != (folder is not None):
        raise click.UsageError("--all and --out FOLDER need each other: give both or neither.")
    unfit = [f"--{name.replace('_', '-')}" for name, given in others.items() if given]
    if everybody and unfit:
        raise click.UsageError(f"--all: got {' and '.join(unfit)} too, which is for one USER.")
