"""One Redis for all cases; each case has a project of its own in it."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from cli.redis_process import RunningRedis
from tests.feast_fusion.conformance.engines import ENGINES, Repo
from tests.feast_fusion.online.redis_faults import open_redis

_numbers = count()


@pytest.fixture(scope="session")
def conformance_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRedis]:
    with open_redis(tmp_path_factory.mktemp("conformance") / "redis") as server:
        yield server


@pytest.fixture
def open_engine(tmp_path: Path, conformance_redis: RunningRedis) -> Callable[[str], Repo]:
    """A fresh repository of the engine of a name."""

    def opened(name: str) -> Repo:
        project = f"shop_{next(_numbers)}"
        return Repo(tmp_path / name, ENGINES[name], conformance_redis, project)

    return opened
