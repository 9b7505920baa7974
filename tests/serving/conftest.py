"""The films data set with a Redis and a home of its own, since served events change it; a graph."""

import threading
from collections.abc import Iterator

import pytest

from cli.embedded_redis import start_redis, stop_redis
from cli.feast_repository import open_store
from cli.redis_process import RunningRedis
from cli.redis_url import connection_string
from serving.graph.graph_folder import GraphFolder
from serving.graph.vector_graph import VectorGraph
from serving.http.library import Library, open_library
from tests.conftest import Project
from tests.serving.graph.clustered import clustered, keyed
from tests.serving.http.service_process import copy_project


@pytest.fixture(scope="session")
def served_films(films: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return copy_project(films, tmp_path_factory.mktemp("served") / "home")


@pytest.fixture(scope="session")
def films_redis(served_films: Project) -> Iterator[RunningRedis]:
    folder = served_films.workspace.redis
    yield start_redis(folder)
    stop_redis(folder)


@pytest.fixture(scope="session")
def library(served_films: Project, films_redis: RunningRedis) -> Iterator[Library]:
    """What the application stands on, in this process."""
    workspace = served_films.workspace
    store = open_store(workspace, connection_string(films_redis.url))
    with open_library(workspace, store) as opened:
        yield opened


@pytest.fixture(scope="session")
def graph(tmp_path_factory: pytest.TempPathFactory) -> VectorGraph:
    """Of `clustered()`, as a process opens it."""
    folder = GraphFolder(tmp_path_factory.mktemp("graph"))
    folder.build(keyed(clustered()), threading.Event())
    found = folder.newest()
    assert found is not None
    return found
