"""A Redis on a free loopback port that lives in one folder, for people without a Redis.

Nothing here reads the environment: which Redis a command uses is the command's decision.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock

from cli.redis_process import RunningRedis, launch_redis
from feast_fusion.errors import StoreUnavailableError
from feast_fusion.files import replaced_file

_STATE, _LOCK = "redis.json", "redis.lock"


def start_redis(folder: Path, *, detach: bool) -> RunningRedis:
    """The Redis of `folder`, started unless it already runs.

    It listens on 127.0.0.1 only, on a free port, and keeps its data, log and state in `folder`.
    Data are saved when it is stopped or receives SIGTERM (and every 15 minutes while written to),
    so a later start on the same folder has them again. Safe for several processes at once.

    Parameters
    ----------
    folder : created when absent
    detach : True: the server outlives this process and its terminal. False: it is a child of this
        process, so an interrupt at the terminal reaches it too.

    Raises
    ------
    StoreUnavailableError
        There is no redis-server, it did not start, or the server of this folder hangs.
    """
    return _find_or_start(folder, detach)[0]


def stop_redis(folder: Path) -> bool:
    """Save the data and stop the Redis of `folder`; False where none was running."""
    folder = Path(folder).resolve()
    if not (folder / _STATE).exists():
        return False
    with FileLock(folder / _LOCK):
        state = _read_state(folder)
        if state is not None:
            state.stop()
        (folder / _STATE).unlink(missing_ok=True)
    return state is not None


def redis_status(folder: Path) -> RunningRedis | None:
    """The Redis of `folder` if its process is alive and answers PING, else None."""
    state = _read_state(Path(folder).resolve())
    return state if state is not None and state.answers() else None


@contextmanager
def embedded_redis(folder: Path, *, detach: bool = False) -> Iterator[RunningRedis]:
    """The Redis of `folder` for the length of a `with` block; `detach` as in `start_redis`.

    A server that already runs is used and left running. A server started here is stopped at the
    end, also when the block raises.
    """
    running, is_ours = _find_or_start(folder, detach)
    try:
        yield running
    finally:
        if is_ours:
            stop_redis(folder)


def _find_or_start(folder: Path, detach: bool) -> tuple[RunningRedis, bool]:
    """The server of `folder`, and whether it was started just now."""
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / _LOCK):
        state = _read_state(folder)
        if state is not None and not state.answers():
            raise StoreUnavailableError(
                f"Redis of {folder}: got process {state.pid} that does not answer on port "
                f"{state.port}, expected PONG. Two servers must not share a folder: stop this one "
                "with `feast-fusion redis stop`."
            )
        if state is not None:
            return state, False
        started = launch_redis(folder, detach=detach)
        with replaced_file(folder / _STATE) as building:
            building.write_text(json.dumps(asdict(started)), encoding="utf-8")
        return started, True


def _read_state(folder: Path) -> RunningRedis | None:
    """The server that redis.json names, if it is alive and at work in this very folder.

    In a copy of a folder it is not: that server goes on in the folder that was copied.
    """
    try:
        state = RunningRedis(**json.loads((folder / _STATE).read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError):
        return None
    return state if state.folder() == folder else None
