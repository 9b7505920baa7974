"""Every test has a Feast repository of its own, but one process has them all."""

from collections.abc import Iterator

import pytest
from feast import utils

from cli.redis_process import RunningRedis
from tests.feast_fusion.online.redis_faults import open_redis


@pytest.fixture(autouse=True)
def forget_other_registries() -> None:
    """Feast keeps resolved features by project name, whichever registry they came from."""
    utils._feature_resolution_cache.clear()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRedis]:
    """A Redis for the tests of a module."""
    with open_redis(tmp_path_factory.mktemp("redis")) as running:
        yield running
