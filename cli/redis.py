"""`feast-fusion redis`: the embedded Redis that commands use when REDIS_URL is not set."""

import click

from cli.context import say, then, with_workspace
from cli.embedded_redis import redis_status, start_redis, stop_redis
from intake.workspace import Workspace


@click.group()
def redis() -> None:
    """Start, stop or look at the embedded Redis of a data set.

    Commands that need Redis use REDIS_URL if it is set, else this one; when it is not running they
    start it for their own duration. Its data survives a stop.
    """


@redis.command()
@with_workspace
def start(workspace: Workspace) -> None:
    """Start it in the background on a free port of 127.0.0.1."""
    workspace.redis.mkdir(parents=True, exist_ok=True)
    running = start_redis(workspace.redis, detach=True)
    say(f"Redis of {workspace.dataset.name} runs at {running.url} (pid {running.pid}).")
    then('Next: eval "$(feast-fusion env)", or feast-fusion recommend USER. Stop: redis stop.')


@redis.command()
@with_workspace
def stop(workspace: Workspace) -> None:
    """Stop it; its data is saved first."""
    was_running = stop_redis(workspace.redis)
    say("Stopped." if was_running else "It was not running.")


@redis.command()
@with_workspace
def status(workspace: Workspace) -> None:
    """Say whether it runs and where."""
    running = redis_status(workspace.redis)
    if running is None:
        say(f"Redis of {workspace.dataset.name}: not running. Start: feast-fusion redis start.")
    else:
        say(f"Redis of {workspace.dataset.name} runs at {running.url} (pid {running.pid}).")
