"""Versions of a graph: built once, continued, whole or not used, none left half."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from serving.graph.graph_folder import GraphFolder
from serving.graph.placed_graph import PlacedGraph
from serving.graph.vector_graph import VectorGraph
from tests.serving.graph.clustered import clustered, keyed
from tests.waiting import wait_until

GO_ON = threading.Event()
SMALL = clustered(3_000)
BUILD_FOR_LONG = """
import sys, threading
from pathlib import Path
from serving.graph.graph_folder import GraphFolder
from tests.serving.graph.clustered import clustered, keyed

GraphFolder(Path(sys.argv[1])).build(keyed(clustered(200_000)), threading.Event())
"""


def build(folder: Path, n: int = len(SMALL)) -> VectorGraph:
    """With a folder object of its own, as another process has it."""
    GraphFolder(folder).build(keyed(SMALL[:n]), GO_ON)
    found = GraphFolder(folder).newest()
    assert found is not None
    return found


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*") if path.name != ".lock")


def test_a_graph_is_built_once_and_mapped(tmp_path: Path) -> None:
    assert GraphFolder(tmp_path).newest() is None
    graph = build(tmp_path)
    assert sorted(graph.keys) == sorted(keyed(SMALL).keys)
    assert str(tmp_path / "000001" / "graph.faiss") in Path("/proc/self/maps").read_text()
    build(tmp_path)
    assert contents(tmp_path) == ["000001"]


def test_few_new_vectors_wait_and_many_continue_the_graph(tmp_path: Path) -> None:
    first = build(tmp_path, 1_900)
    build(tmp_path, 2_900)
    assert contents(tmp_path) == ["000001"]
    second = build(tmp_path, 2_901)
    assert contents(tmp_path) == ["000001", "000002"]
    np.testing.assert_array_equal(second.keys[:1_900], first.keys)
    assert len(PlacedGraph.of(second, keyed(SMALL[:2_901])).rest) == 0
    found = {int(second.nearest(vector, 30)[0]) for vector in SMALL[1_900:2_901]}
    assert len(found & {*range(1_900, 2_901)}) > 0.98 * 1_001


def test_a_graph_of_which_much_is_gone_is_built_anew(tmp_path: Path) -> None:
    graph = build(tmp_path)
    assert PlacedGraph.of(graph, keyed(SMALL[:2_399])).is_outdated
    assert len(build(tmp_path, 2_401)) == 3_000
    assert len(build(tmp_path, 2_399)) == 2_399


def test_the_newest_two_are_kept_and_searches_of_older_ones_go_on(tmp_path: Path) -> None:
    first = build(tmp_path)
    before = first.nearest(SMALL[5], 10)
    for n in (2_300, 1_800):
        build(tmp_path, n)
    assert contents(tmp_path) == ["000002", "000003"]
    np.testing.assert_array_equal(first.nearest(SMALL[5], 10), before)


@pytest.mark.parametrize("name", ["graph.faiss", "keys.npy", "manifest.json"])
def test_a_damaged_graph_is_not_used_and_built_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    build(tmp_path, 2_300)
    build(tmp_path, 1_800)
    path = tmp_path / "000002" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    graphs = GraphFolder(tmp_path)
    reserve = graphs.newest()
    assert reserve is not None
    assert reserve.folder.name == "000001"
    assert name in caplog.text
    graphs.build(keyed(SMALL[:1_800]), GO_ON)
    newest = graphs.newest()
    assert newest is not None
    assert newest.folder.name == "000003"


def test_who_finds_another_builder_leaves_it_the_work(tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"):
        GraphFolder(tmp_path).build(keyed(SMALL), GO_ON)
    assert contents(tmp_path) == []
    build(tmp_path)


def test_a_stopped_builder_leaves_nothing(tmp_path: Path) -> None:
    stopped = threading.Event()
    stopped.set()
    GraphFolder(tmp_path).build(keyed(SMALL), stopped)
    assert contents(tmp_path) == []


def test_a_killed_builder_leaves_nothing_half(tmp_path: Path) -> None:
    builder = subprocess.Popen([sys.executable, "-c", BUILD_FOR_LONG, str(tmp_path)])
    wait_until((tmp_path / ".building.tmp").is_dir)
    builder.send_signal(signal.SIGKILL)
    builder.wait()
    assert GraphFolder(tmp_path).newest() is None
    build(tmp_path)
    assert contents(tmp_path) == ["000001"]
