"""`feast-fusion env`: the variables with which Feast's own commands work on a data set."""

import shlex

import click

from cli.context import with_workspace
from cli.feast_repository import environment
from cli.redis import running_redis
from feast_fusion.errors import StoreUnavailableError
from intake.workspace import Workspace


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
