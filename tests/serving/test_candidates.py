"""Candidates: what the signals speak for, the query and new items beside, nothing excluded."""

from dataclasses import replace

import numpy as np
import polars as pl
import pyarrow as pa
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st

from feast_fusion.times import TIMESTAMP
from feast_fusion.training_set import Indexed, TrainingSet
from intake.dataset import Interactions
from intake.model_settings import ChooserConfig, SequenceConfig
from serving.candidates import FRESH_SHARE, QUERY_SHARE, Search
from serving.catalogue import Catalogue
from serving.filters.item_columns import ItemColumns
from serving.seen_items import SeenItems
from serving.vector_index import VectorIndex, Vectors
from tests.serving.wishes.wordings import wording
from training.next_item.chooser import Chooser
from training.next_item.model import NextItemScorer, Signals, signal_names
from training.next_item.sequence_model import SequenceModel
from training.ranker.collaborative import Collaboration
from transformations.collaborative.item_factors import FactorVersion
from transformations.collaborative.versions import ItemVersion
from transformations.id_map import IdMap

N = 60
NOTHING = np.zeros(0, dtype=np.int64)
NOBODY = SeenItems(IdMap.of([]), np.zeros(1, np.int64), NOTHING.astype(np.int32), NOTHING)


def make_catalogue(n: int = N, n_cold: int = 4, seed: int = 0) -> Catalogue:
    """n items i0.. in order of popularity; nobody has acted on the last `n_cold`."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    vectors = rng.normal(size=(n, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    items = IdMap(pa.array([f"i{i}" for i in range(n)]))
    empty = ItemVersion.empty(n)
    version = replace(
        empty,
        together=sp.csr_matrix(np.abs(rng.normal(size=(n, n))).astype(np.float32)),
        popularity=np.linspace(5, 1, 3 * n, dtype=np.float32).reshape(3, n),
    )
    sequence = SequenceModel(SequenceConfig(width=8), torch.from_numpy(vectors)).eval()
    chooser = Chooser(ChooserConfig(width=8), len(signal_names(False))).eval()
    return Catalogue(
        items=items,
        titles=[f"Item {i}" for i in range(n)],
        popularity=np.linspace(0.9, 0.1, n, dtype=np.float32),
        n_events=np.arange(n - n_cold, -n_cold, -1).clip(0),
        fresh=np.arange(n - n_cold, n)[::-1].copy(),
        index=VectorIndex.of(vectors, np.ones(n, dtype=bool)),
        wording=wording(),
        columns=ItemColumns(pl.DataFrame(), {}, ()),
        availability=None,
        seen=SeenItems(
            IdMap.of([]), np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int64)
        ),
        scorer=NextItemScorer(Signals(version, sequence, vectors, vectors, False), chooser, 50),
        collaboration=Collaboration(items, FactorVersion.empty(n), version.together),
        by_id=np.arange(n),
        interactions=Interactions(path="events.parquet"),
    )


def user_row(*item_ids: str, positives: tuple[int, ...] | None = None) -> TrainingSet:
    """A user who acted on these items, the newest first, a minute apart."""
    n, zero = len(item_ids), np.zeros(1, np.int32)
    lists = {
        "item_ids": pa.array([list(item_ids)], pa.list_(pa.string())),
        "values": pa.array([[5.0] * n], pa.list_(pa.float32())),
        "positives": pa.array([list(positives or [1] * n)], pa.list_(pa.int64())),
        "ages_s": pa.array([[60 * at for at in range(n)]], pa.list_(pa.int64())),
    }
    table = pa.table(
        {
            "user_id": ["u"],
            "event_timestamp": pa.array([10_000_000_000], pa.int64()).cast(TIMESTAMP),
            "user_stats__user_last_event_s": pa.array([9_000], pa.int64()),
        }
    )
    found = {f"user_recent__{name}": Indexed(values, zero) for name, values in lists.items()}
    return TrainingSet(table, {}, found)


def search(
    catalogue: Catalogue, *liked: str, seen: tuple[int, ...] = (), query: Vectors | None = None
) -> Search:
    excluded = [np.array(seen, dtype=np.int64)]
    return Search.of(catalogue, user_row(*liked) if liked else None, excluded, query)


def test_candidates_are_those_that_the_merged_signals_put_first() -> None:
    catalogue = make_catalogue(n_cold=0)
    asked = search(catalogue, "i3", "i9", seen=(3, 9))
    found = asked.best(10)
    allowed = ~np.isin(np.arange(N), [3, 9])
    assert asked.history is not None
    signals = catalogue.scorer.signals
    merged = signals.merge(signals.read(asked.history, allowed[None]))[0]
    merged = np.where(allowed, merged + 1e-3 * catalogue.popularity, -np.inf)
    assert found.rows.tolist() == sorted(range(N), key=lambda row: -merged[row])[:10]
    assert found.item_ids == [f"i{row}" for row in found.rows]
    assert asked.order()[:10].tolist() == found.rows.tolist()
    assert len(asked.order()) == N - 2


def test_without_a_history_the_popular_come_in_order() -> None:
    found = search(make_catalogue(n_cold=0), seen=(1,)).best(3)
    assert found.item_ids == ["i0", "i2", "i3"]
    assert found.sources(make_catalogue(n_cold=0), 0) == ("popular",)


def test_only_what_says_something_of_a_user_is_a_source() -> None:
    catalogue = make_catalogue(n_cold=0)
    of_anybody = {"popular", "popular_long", "popular_short"}
    nobody = Search.of(catalogue, user_row(), [], None).best(N)
    named = {name for at in range(N) for name in nobody.sources(catalogue, at)}
    assert named <= of_anybody
    likes = search(catalogue, "i3", "i9").best(N)
    named = {name for at in range(N) for name in likes.sources(catalogue, at)}
    assert {"together", "text"} <= named
    assert named.isdisjoint({"disliked", "liked_rate"}), "every event is a positive one"


def test_the_newest_item_is_a_candidate_however_unpopular() -> None:
    catalogue = make_catalogue(500, n_cold=50)
    found = search(catalogue).best(100)
    cold = [at for at, row in enumerate(found.rows) if not catalogue.acted_on[row]]
    assert len(cold) == int(np.ceil(100 * FRESH_SHARE))
    assert {"i499"} <= set(found.item_ids)
    assert all("fresh" in found.sources(catalogue, at) for at in cold)


def test_a_query_names_its_share() -> None:
    catalogue = make_catalogue(500, n_cold=0)
    # far apart, so that nothing else decides
    likeness = 10_000 * np.random.default_rng(1).normal(size=500).astype(np.float32)
    found = search(catalogue, "i1", query=likeness).best(100)
    nearest = np.argsort(-likeness)[: int(100 * QUERY_SHARE)]
    assert set(nearest) <= set(found.rows.tolist())
    assert found.query is not None
    np.testing.assert_array_equal(found.query, likeness[found.rows])
    at = found.rows.tolist().index(int(nearest[0]))
    assert "query" in found.sources(catalogue, at)


@given(
    n=st.integers(1, 40),
    wanted=st.integers(1, 50),
    n_liked=st.integers(0, 3),
    has_query=st.booleans(),
    seen=st.sets(st.integers(0, 39)),
)
def test_always_as_many_as_the_catalogue_has(
    n: int, wanted: int, n_liked: int, has_query: bool, seen: set[int]
) -> None:
    catalogue = make_catalogue(n, n_cold=n // 3)
    liked = [f"i{at * 7 % 45}" for at in range(n_liked)]  # some are not in the catalogue
    known = tuple(row for row in seen if row < n)
    query = np.arange(n, dtype=np.float32) if has_query else None
    found = search(catalogue, *liked, seen=known, query=query).best(wanted)
    assert len(found) == len(set(found.item_ids)) == min(wanted, n - len(known))
    assert set(known).isdisjoint(found.rows.tolist())
    assert found.signals.shape == (len(signal_names(False)), len(found))
    assert np.isfinite(found.signals).all()


def test_named_items_are_kept_once_and_unknown_ones_too() -> None:
    named = search(make_catalogue(3, n_cold=0), "i1").named(["i2", "?", "i2", "i0"])
    assert (named.item_ids, named.rows.tolist()) == (["i2", "?", "i0"], [2, -1, 0])
    assert not named.signals[:, 1].any()
    assert named.signals[:, 0].any()
