"""`bench index`: the 100 nearest vectors by the graph on disk, in three sizes of catalogue.

The peer is what the graph replaced, inverted lists in memory; the floor compares the query with
all vectors. They take turns in one process, on one thread, whose processor time is measured. What
a process pays for the graph is measured in one that opens it, beside one that reads it without
mapping it.

The vectors are mixtures: each the mean of twelve of the demo's item vectors (MiniLM, 384 numbers)
with random weights, so that they lie where texts lie. Their intrinsic dimension (maximum
likelihood, 20 neighbours among 1,682) is 24, that of the item vectors 22. Independent random
numbers would have 384, which no text has and no index can search.

It needs the demo's workspace (`make demo`), or another that FUSION_DATASET and FUSION_HOME name.
"""

import platform
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.demo import measured_workspace
from benchmarks.large_catalogue import item_vectors
from benchmarks.report import Case, child_memory_mb, compared, report
from feast_fusion.inverted_lists import build_lists
from serving.graph.graph_folder import GraphFolder
from serving.graph.keyed_vectors import KeyedVectors
from serving.graph.placed_graph import PlacedGraph
from serving.graph.vector_graph import VectorGraph
from serving.vector_index import Rows, VectorIndex, Vectors

K = 100
_MIXED = 12
# Queries that one contender answers before the next one has its turn.
_IN_TURN = 20
# Of the rows, those that a filter lets through.
SHARES = (0.1, 0.01, 0.001)
HOW = ("mapped", "read")  # a graph is opened
LISTS, ALL = "inverted lists", "compare all"
TARGETS = (
    "from 100,000 to 1,000,000 vectors p50 grows less than 2 times, at recall@100 of .95",
    "a process that opens the graph: less than 20 MB of its own",
)

T = TypeVar("T")
Search = Callable[[Vectors], Rows]


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    catalogues: tuple[int, ...]
    n_queries: int


FULL = Size((100_000, 300_000, 1_000_000), 200)
QUICK = Size((3_000,), 3)


def run(json_path: Path | None = None, quick: bool = False) -> dict[str, Any]:
    """Measure each catalogue; print the table and write it as JSON where a path is given."""
    size = QUICK if quick else FULL
    real = item_vectors(measured_workspace())
    queries = mixtures(real, size.n_queries, seed=1)
    cases: list[Case] = []
    for n in size.catalogues:
        with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
            cases += measure(mixtures(real, n, seed=0), queries, Path(folder))
    return report("index", cases, TARGETS, json_path, f"{platform.machine()}, 1 thread")


def measure(vectors: Vectors, queries: Vectors, folder: Path) -> list[Case]:
    """The cases of one catalogue."""
    case, d = f"{len(vectors):,}", vectors.shape[1]
    everything = np.ones(len(vectors), dtype=bool)
    exact = VectorIndex.of(vectors, everything)
    known = KeyedVectors.of(map(str, range(len(vectors))), vectors, everything)
    graph, build_s = _cpu_s(lambda: _built(folder, known))
    lists, lists_s = _cpu_s(
        lambda: build_lists(vectors, known.rows, euclidean=False, of_length_1=True)
    )
    placed = replace(exact, placed=PlacedGraph.of(graph, known))
    peer = {LISTS: lambda query: lists.search(query[None], K)[1][0]}
    own, read = (child_memory_mb("graph_memory", graph.folder, d, how) for how in HOW)
    return [
        *compare(case, _nearest(placed), peer, _nearest(exact), queries),
        *(case for share in SHARES for case in compare_filtered(placed, exact, queries, share)),
        compared(case, "build", "CPU s", build_s, {LISTS: lists_s}, {}),
        compared(case, "files", "MB", _size_mb(graph), {}, {}),
        compared(case, "own memory", "MB", own, {}, {}),
        compared(f"{case}, not mapped", "own memory", "MB", read, {}, {}),
    ]


def compare(
    case: str, ours: Search, peers: dict[str, Search], exact: Search, queries: Vectors
) -> list[Case]:
    """Median time of each search, in turns, and the share of the nearest that it finds."""
    searches = {"ours": ours, **peers, ALL: exact}
    seconds: dict[str, list[float]] = {name: [] for name in searches}
    shares: dict[str, list[float]] = {name: [] for name in searches}
    for start in range(0, len(queries), _IN_TURN):
        block = queries[start : start + _IN_TURN]
        found = {name: _timed(search, block, seconds[name]) for name, search in searches.items()}
        for name, rows in found.items():
            shares[name] += [
                len(np.intersect1d(each, nearest)) / len(nearest)
                for each, nearest in zip(rows, found[ALL], strict=True)
            ]
    ms = {name: 1000 * float(np.median(taken)) for name, taken in seconds.items()}
    recall = {name: float(np.mean(each)) for name, each in shares.items()}
    return [
        compared(
            case, "p50", "CPU ms", ms["ours"], {name: ms[name] for name in peers}, {ALL: ms[ALL]}
        ),
        compared(case, f"recall@{K}", "", recall["ours"], {}, {}),
        *(compared(f"{case}, {name}", f"recall@{K}", "", recall[name], {}, {}) for name in peers),
    ]


def compare_filtered(
    placed: VectorIndex, exact: VectorIndex, queries: Vectors, share: float
) -> list[Case]:
    """The same where only a share of the rows, drawn at random, may come back."""
    allowed = np.random.default_rng(2).random(len(exact.vectors)) < share
    case = f"{len(exact.vectors):,}, {share:.1%} allowed"
    return compare(case, _nearest(placed, allowed), {}, _nearest(exact, allowed), queries)


def mixtures(real: Vectors, n: int, seed: int) -> Vectors:
    """(n, d) unit vectors, each a mean of some of the (m, d) real ones with random weights."""
    rng = np.random.default_rng(seed)
    found = np.empty((n, real.shape[1]), dtype=np.float32)
    for start in range(0, n, 10_000):
        part = found[start : start + 10_000]
        weights = rng.dirichlet([0.5] * _MIXED, len(part)).astype(np.float32)
        mixed = real[rng.integers(0, len(real), (len(part), _MIXED))]  # (p, 12, d)
        part[:] = np.einsum("pm,pmd->pd", weights, mixed)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def _nearest(index: VectorIndex, allowed: NDArray[np.bool_] | None = None) -> Search:
    return lambda query: index.nearest(query, K, allowed)[0]


def _built(folder: Path, vectors: KeyedVectors) -> VectorGraph:
    graphs = GraphFolder(folder)
    graphs.build(vectors, threading.Event())
    graph = graphs.newest()
    assert graph is not None
    return graph


def _timed(search: Search, queries: Vectors, seconds: list[float]) -> list[Rows]:
    """What each query finds, and processor time: this machine may be busy with something else."""
    found = []
    for query in queries:
        began = time.thread_time()
        found.append(search(query))
        seconds.append(time.thread_time() - began)
    return found


def _cpu_s(work: Callable[[], T]) -> tuple[T, float]:
    began = time.process_time()
    done = work()
    return done, time.process_time() - began


def _size_mb(graph: VectorGraph) -> float:
    return sum(path.stat().st_size for path in graph.folder.iterdir()) / 1e6
