"""Graphs in the background: built for large indexes, shared, followed, and never waited for."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from serving.graph.graph_watch import EXACT_LIMIT, GraphWatch
from serving.vector_index import VectorIndex, Vectors
from tests.serving.graph.clustered import clustered, ids_of
from tests.waiting import wait_until

QUERY = clustered(1, seed=9)[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "graphs"


@pytest.fixture
def watch(folder: Path) -> Iterator[GraphWatch]:
    with GraphWatch(folder) as opened:
        yield opened


def index_of(vectors: Vectors) -> VectorIndex:
    return VectorIndex.of(vectors, np.ones(len(vectors), dtype=bool))


def place_on_a_graph(watch: GraphWatch, index: VectorIndex, version: str) -> VectorIndex:
    ids, found = ids_of(index.vectors), index

    def is_there() -> bool:
        nonlocal found
        found = watch.place(found, ids)
        return found.placed is not None and found.placed.graph.folder.name == version

    wait_until(is_there)
    return found


def test_a_large_index_is_exact_until_its_graph_is_built(watch: GraphWatch) -> None:
    index = index_of(clustered())
    assert watch.place(index, ids_of(index.vectors)) is index
    found = place_on_a_graph(watch, index, "000001")
    assert found.placed is not None
    assert len(found.placed.rest) == 0
    assert watch.place(found, ids_of(index.vectors)) is found


def test_a_small_index_needs_no_graph(watch: GraphWatch, folder: Path) -> None:
    index = index_of(clustered(EXACT_LIMIT))
    assert watch.place(index, ids_of(index.vectors)) is index
    assert not folder.exists()


def test_processes_share_graphs_and_follow_them(watch: GraphWatch, folder: Path) -> None:
    ours = place_on_a_graph(watch, index_of(clustered()), "000001")
    with GraphWatch(folder) as other:
        more = np.concatenate([clustered(), clustered(1_001, seed=3)])
        more[-1] = QUERY
        theirs = other.place(index_of(more), ids_of(more))
        assert theirs.placed is not None, "the first graph, until there is the second"
        assert theirs.placed.graph.folder.name == "000001"
        assert theirs.nearest(QUERY, 1)[0] == [len(more) - 1]
        place_on_a_graph(other, theirs, "000002")
    ours = place_on_a_graph(watch, ours, "000002")
    assert ours.nearest(QUERY, 1)[1] < 0.999, "that of the catalogue which the others have"


def test_a_graph_that_cannot_be_built_is_not_tried_again(
    watch: GraphWatch, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.write_text("a file in its place")
    index = index_of(clustered())
    ids = ids_of(index.vectors)
    assert watch.place(index, ids) is index
    wait_until(lambda: "not built" in caplog.text)
    folder.unlink()
    for _ in range(3):
        watch.place(index, ids)
    watch.close()
    assert not folder.exists()
    assert len(index.nearest(QUERY, 5)[0]) == 5


def test_closing_ends_a_build(folder: Path) -> None:
    index = index_of(clustered(200_000))
    with GraphWatch(folder) as watch:
        watch.place(index, ids_of(index.vectors))
        wait_until((folder / ".building.tmp").is_dir)
    assert [path.name for path in folder.iterdir()] == [".lock"]
