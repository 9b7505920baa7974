"""`feast-fusion redis`: the embedded Redis that commands use when REDIS_URL is not set."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from redis import Redis
from redis.exceptions import RedisError

from cli.embedded_redis import embedded_redis, redis_status, start_redis, stop_redis
from cli.redis_process import RunningRedis
from cli.redis_url import connection_string
from cli.suggested import as_typed
from cli.terminal import result, say, then
from cli.workspace_options import with_workspace
from feast_fusion.errors import StoreUnavailableError
from intake.workspace import Workspace

_PATIENCE_S = 5.0


@click.group()
def redis() -> None:
    """Start, stop or look at the embedded Redis of a data set.

    Commands that need Redis use REDIS_URL if it is set, else this one. They start it when it is not
    running, and again when it dies; the last of them stops it, unless `redis start` started it. Its
    data survives a stop.
    """


@redis.command()
@with_workspace
def start(workspace: Workspace) -> None:
    """Start it in the background on a port of 127.0.0.1 that stays its own."""
    running = start_redis(workspace.redis)
    say(_said(workspace, running))
    result(**_facts(running))
    then(
        'Next: eval "$(feast-fusion env)", or feast-fusion recommend USER. '
        "Stop: feast-fusion redis stop."
    )


@redis.command()
@with_workspace
def stop(workspace: Workspace) -> None:
    """Stop it; its data is saved first."""
    was_running = stop_redis(workspace.redis)
    say("Stopped." if was_running else "It was not running.")
    result(was_running=was_running)


@redis.command()
@with_workspace
def status(workspace: Workspace) -> None:
    """Say whether it runs and where."""
    running = redis_status(workspace.redis)
    result(**_facts(running))
    if running is None:
        start_it = as_typed("Start: feast-fusion redis start.")
        say(f"Redis of {workspace.dataset.name}: not running. {start_it}")
    else:
        say(_said(workspace, running))


def _facts(running: RunningRedis | None) -> dict[str, Any]:
    if running is None:
        return {"is_running": False}
    about = {"address": running.address, "version": running.version, "pid": running.pid}
    return {"is_running": True, **about}


def _said(workspace: Workspace, running: RunningRedis) -> str:
    where = f"{running.address} ({running.version}, pid {running.pid})"
    return f"Redis of {workspace.dataset.name} runs at {where}."


@contextmanager
def redis_of(workspace: Workspace, *, must_answer: bool = True) -> Iterator[str]:
    """Feast's connection string of REDIS_URL, else of the embedded Redis, running meanwhile.

    must_answer : raise as `require_redis`; False is for answers, which popularity can give

    Raises
    ------
    StoreUnavailableError
        As `require_redis`; or the embedded Redis does not start.
    """
    url = os.environ.get("REDIS_URL")
    if url:
        if must_answer:
            require_redis()
        yield connection_string(url)
        return
    with embedded_redis(workspace.redis) as running:
        yield running.connection


def require_redis() -> None:
    """Ask the Redis of REDIS_URL once, before anything is done that needs it.

    Raises
    ------
    StoreUnavailableError
        It does not answer, or refuses; the message names what was set.
    """
    if (trouble := redis_trouble()) is not None:
        raise StoreUnavailableError(
            f"REDIS_URL: got {trouble}, expected a Redis that answers. Start it, correct "
            "REDIS_URL, or unset it: commands then start one of their own."
        )


def redis_trouble() -> str | None:
    """Why the Redis of REDIS_URL does not answer; None where it does, or none is set."""
    url = os.environ.get("REDIS_URL")
    if not url:
        return None
    connection_string(url)  # says what is wrong with an address better than redis-py
    try:
        with Redis.from_url(url, socket_timeout=_PATIENCE_S) as client:
            client.ping()
    except (RedisError, OSError) as error:
        return str(error).rstrip(".")
    return None


def running_redis(workspace: Workspace) -> str | None:
    """Feast's connection string of REDIS_URL or of a running embedded Redis, else None."""
    url = redis_url(workspace)
    return connection_string(url) if url else None


def redis_url(workspace: Workspace) -> str | None:
    """REDIS_URL, or the URL of a running embedded Redis, else None."""
    running = redis_status(workspace.redis)
    return os.environ.get("REDIS_URL") or (running.url if running else None)
