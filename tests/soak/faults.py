"""What goes wrong during a soak, at random: each fault ends, and then all is ready again."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import redis

from cli.embedded_redis import redis_status
from intake.workspace import Workspace
from tests.soak.fleet import Service
from tests.soak.record import Record
from tests.waiting import wait_until

_READY_S = 300.0
_N_FORGOTTEN = 100


class Faults:
    """The faults of one home, and how long it took until all services were ready again."""

    def __init__(
        self, workspace: Workspace, services: list[Service], record: Record, seed: int
    ) -> None:
        self._workspace = workspace
        self._services = services
        self._record = record
        self._rng = np.random.default_rng(seed)
        self._seconds: dict[str, list[float]] = {}

    def happen(self, until: float, pause_s: tuple[float, float]) -> None:
        """One after the other until a time of `time.monotonic`, with pauses between them."""
        kinds: list[Callable[[], None]] = [
            self._kill_service,
            self._end_service,
            self._kill_redis,
            self._kill_redis_with_a_snapshot,
            self._pause_redis,
            self._fill_disk,
            self._forget_events,
            self._forget_rows,
            self._empty_redis,
        ]
        chances = np.array([6, 2, 4, 6, 2, 6, 8, 1, 1])
        while time.monotonic() < until:
            kind = kinds[int(self._rng.choice(len(kinds), p=chances / chances.sum()))]
            self._one(kind)
            time.sleep(self._rng.uniform(*pause_s))

    def lines(self) -> list[str]:
        """How often each happened, and how long until all was ready again."""
        return [
            f"{name}: {len(seconds)} times, ready again within {max(seconds):.1f} s "
            f"(median {float(np.median(seconds)):.1f} s)"
            for name, seconds in sorted(self._seconds.items())
        ]

    def save_redis(self) -> None:
        """So that one that is killed comes back with something."""
        with self._client() as client:
            client.save()

    def wait_until_ready(self) -> None:
        """Until every service is, has nothing left to apply and misses nothing."""
        wait_until(lambda: all(map(_is_whole, self._services)), "ready services", _READY_S)

    def _one(self, kind: Callable[[], None]) -> None:
        name, began = kind.__name__.strip("_").replace("_", " "), time.monotonic()
        kind()
        try:
            wait_until(self._are_ready, name, _READY_S)
        except AssertionError as error:
            self._record.add_wrong(f"not ready after {error}")
        self._seconds.setdefault(name, []).append(time.monotonic() - began)
        print(f"  {time.strftime('%H:%M:%S')} {name}: {time.monotonic() - began:.1f} s", flush=True)

    def _are_ready(self) -> bool:
        time.sleep(0.2)
        return all(service.is_ready() for service in self._services)

    def _any_service(self) -> Service:
        return self._services[int(self._rng.integers(len(self._services)))]

    def _kill_service(self) -> None:
        service = self._any_service()
        service.end(signal.SIGKILL)
        service.start()

    def _end_service(self) -> None:
        service = self._any_service()
        code = service.end(signal.SIGTERM)
        if code not in (0, -signal.SIGTERM):
            self._record.add_wrong(f"SIGTERM: exit code {code}")
        service.start()

    def _kill_redis(self) -> None:
        os.kill(self._redis().pid, signal.SIGKILL)

    def _kill_redis_with_a_snapshot(self) -> None:
        """It comes back with a state of some seconds ago."""
        with self._client() as client, suppress(redis.RedisError):
            client.save()
        time.sleep(self._rng.uniform(2, 10))
        self._kill_redis()

    def _pause_redis(self) -> None:
        pid = self._redis().pid
        os.kill(pid, signal.SIGSTOP)
        time.sleep(self._rng.uniform(2, 6))
        os.kill(pid, signal.SIGCONT)

    def _fill_disk(self) -> None:
        """Neither a service nor Redis can write to any file for a while."""
        pids = [self._any_service().pid, self._redis().pid]
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        time.sleep(self._rng.uniform(3, 10))
        for pid in pids:
            with suppress(ProcessLookupError):
                unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
                resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)

    def _forget_events(self) -> None:
        """As Redis evicts: sets of live events."""
        self._forget("fusion:live:*:user:*", "fusion:live:*:item:*")

    def _forget_rows(self) -> None:
        """What no event made comes back by the command that readiness names."""
        self._forget("fusion:live:*:user:*", "*user_id*")
        self._refresh()

    def _empty_redis(self) -> None:
        with self._client() as client:
            client.flushall()
        self._refresh()

    def _forget(self, *patterns: str) -> None:
        with self._client() as client:
            for pattern in patterns:
                keys = list(client.scan_iter(pattern, count=1_000))
                chosen = self._rng.permutation(len(keys))[:_N_FORGOTTEN]
                if len(chosen):
                    client.delete(*(keys[at] for at in chosen))

    def _refresh(self) -> None:
        program = str(Path(sys.executable).parent / "feast-fusion")
        where = ["--dataset", str(self._workspace.dataset.path), "--home"]
        command = [program, "refresh", "full", *where, str(self._workspace.home)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            self._record.add_wrong(f"refresh full: {done.stderr[-500:]}")

    def _redis(self) -> Any:
        found = []

        def look() -> bool:
            found[:] = [redis_status(self._workspace.redis)]
            return found[0] is not None

        wait_until(look, "Redis")
        return found[0]

    @contextmanager
    def _client(self) -> Iterator[Any]:
        with redis.Redis.from_url(self._redis().url, socket_timeout=60) as client:
            yield client


def _is_whole(service: Service) -> bool:
    time.sleep(0.2)
    names = ("fusion_events_pending", "fusion_features_lost", "fusion_events_stuck")
    return service.is_ready() and Counter(service.metric(name) for name in names) == {0.0: 3}
