"""A Redis on a free loopback port that lives in one folder, for people without a Redis.

Nothing here reads the environment: which Redis a command uses is the command's decision.
"""

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from filelock import FileLock, Timeout
from redis.exceptions import RedisError

from cli.redis_process import RunningRedis, launch_redis
from feast_fusion.errors import StoreUnavailableError
from feast_fusion.files import private_folder, replaced_file
from feast_fusion.living import alive, anybody_lives

_STATE, _LOCK, _USERS = "redis.json", "redis.lock", "users"
_LOOK_EVERY_S = 0.5

_log = logging.getLogger(__name__)


def start_redis(folder: Path) -> RunningRedis:
    """The Redis of `folder`, started unless it already runs, and kept until `stop_redis`.

    It listens on 127.0.0.1 only, on a port that stays the folder's, asks for a password that only
    the owner of the folder can read, and keeps its data, log and state in `folder`. Data are saved
    when it is stopped or receives SIGTERM, when a command that used it ends, and every 15 minutes
    while written to, so a later start on the same folder has them again. Safe for several
    processes at once.

    Parameters
    ----------
    folder : created when absent

    Raises
    ------
    StoreUnavailableError
        There is no redis-server, it did not start, or the server of this folder hangs.
    """
    folder = _private(folder)
    with FileLock(folder / _LOCK):
        kept = replace(_find_or_start(folder), is_kept=True)
        _write_state(folder, kept)
        return kept


def stop_redis(folder: Path) -> bool:
    """Save the data and stop the Redis of `folder`, whoever uses it; False where none ran."""
    folder = Path(folder).resolve()
    if not (folder / _STATE).exists():
        return False
    with FileLock(folder / _LOCK):
        return _stop(folder)


def redis_status(folder: Path) -> RunningRedis | None:
    """The Redis of `folder` if its process is alive and answers PING, else None."""
    state = _running(Path(folder).resolve())
    return state if state is not None and state.answers() else None


@contextmanager
def embedded_redis(folder: Path) -> Iterator[RunningRedis]:
    """The Redis of `folder` for the length of a `with` block.

    It is started where it does not run, and again where it dies meanwhile. The last of the
    processes that use it stops it, also when a block raises; one that `start_redis` started goes
    on. What a process has written there is in a snapshot when it leaves: no event brings rows of
    `feast materialize` back to a server that dies.
    """
    folder, use = _private(folder), ExitStack()
    with FileLock(folder / _LOCK):
        running = _find_or_start(folder)
        use.enter_context(alive(folder / _USERS))
    leaving = threading.Event()
    keeper = threading.Thread(target=_keep, args=(folder, leaving), name="redis", daemon=True)
    keeper.start()
    try:
        yield running
    finally:
        leaving.set()
        keeper.join()
        with FileLock(folder / _LOCK):
            use.close()
            state = _read_state(folder)
            is_needed = state is None or state.is_kept or anybody_lives(folder / _USERS)
            if not is_needed:
                _stop(folder)
        if is_needed:
            _save(folder)


def _save(folder: Path) -> None:
    state = _running(folder)
    if state is not None:
        try:
            state.save()
        except (RedisError, OSError) as error:
            if state.process() is not None:  # else its last user has saved and stopped it
                _log.warning("Redis of %s: its data are not in a snapshot: %s", folder, error)


def _keep(folder: Path, leaving: threading.Event) -> None:
    """Start the server again where it died without being stopped."""
    while not leaving.wait(_LOOK_EVERY_S):
        state = _read_state(folder)
        if state is None or state.pid == 0 or state.process() is not None:
            continue
        try:
            with FileLock(folder / _LOCK, timeout=0):
                if _read_state(folder) == state:
                    address = _find_or_start(folder).address
                    _log.warning("Redis of %s had ended, and runs again at %s", folder, address)
        except Timeout:
            continue  # another process is at it
        except (StoreUnavailableError, OSError) as error:
            _log.warning("Redis of %s has ended, and does not start: %s", folder, error)


def _find_or_start(folder: Path) -> RunningRedis:
    """The server of `folder`; the caller holds its lock."""
    state = _running(folder)
    if state is not None and not state.answers():
        raise StoreUnavailableError(
            f"Redis of {folder}: got process {state.pid} that does not answer on port "
            f"{state.port}, expected PONG. Two servers must not share a folder: stop this one "
            "with `feast-fusion redis stop`."
        )
    if state is None:
        former = _read_state(folder)
        state = launch_redis(folder, former)
        is_kept = former is not None and former.is_kept
        state = replace(state, is_kept=is_kept)
        _write_state(folder, state)
    return state


def _stop(folder: Path) -> bool:
    """Stop the server of `folder`, whose port and password stay; the caller holds its lock."""
    running, state = _running(folder), _read_state(folder)
    if running is not None:
        running.stop()
    if state is not None:
        _write_state(folder, replace(state, pid=0, is_kept=False))
    return running is not None


def _private(folder: Path) -> Path:
    """The folder, which nobody but its owner may enter."""
    folder = Path(folder).resolve()
    private_folder(folder).chmod(0o700)
    return folder


def _write_state(folder: Path, state: RunningRedis) -> None:
    with replaced_file(folder / _STATE) as building:
        building.write_text(json.dumps(asdict(state)), encoding="utf-8")


def _read_state(folder: Path) -> RunningRedis | None:
    """What redis.json says of the last server."""
    try:
        return RunningRedis(**json.loads((folder / _STATE).read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError):
        return None


def _running(folder: Path) -> RunningRedis | None:
    """The server that redis.json names, if it is alive and at work in this very folder.

    In a copy of a folder it is not: that server goes on in the folder that was copied.
    """
    state = _read_state(folder)
    return state if state is not None and state.folder() == folder else None
