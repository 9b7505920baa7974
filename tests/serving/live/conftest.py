"""The prepared films and a Redis of all tests of live events, made once per process."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.embedded_redis import embedded_redis
from cli.redis_process import RunningRedis
from cli.redis_url import connection_string
from intake.workspace import Workspace, open_workspace
from tests.serving.live.live_repo import apply_views, close, make_workspace, open_store


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRedis]:
    with embedded_redis(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, server: RunningRedis) -> Workspace:
    folder = tmp_path_factory.mktemp("template")
    workspace = make_workspace(folder, n_users=12, n_items=25, n_events=600)
    store = open_store(workspace, connection_string(server.url))
    apply_views(workspace, store)
    close(store)
    return workspace


@pytest.fixture
def workspace(template: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(template.home.parent, tmp_path / "films")
    return open_workspace(tmp_path / "films" / "data" / "dataset.toml", tmp_path / "films/home")
