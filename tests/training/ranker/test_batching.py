"""Batches hold each row once, and shortcuts do not change what they hold."""

from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from feast_fusion.training_set import Indexed, TrainingSet
from tests.training.synthetic import make_dataset, make_training_set
from training.ranker.batching import Batch, iterate_rows, truncate_recent_lists
from training.ranker.feature_encoder import FeatureEncoder


@pytest.fixture(scope="module")
def rows() -> TrainingSet:
    return make_training_set(20)


@pytest.fixture(scope="module")
def encoder(rows: TrainingSet) -> FeatureEncoder:
    return FeatureEncoder.fit(rows, np.arange(300), make_dataset())


@given(st.integers(0, 50), st.integers(1, 20), st.integers(0, 3))
def test_an_epoch_has_each_row_once(n: int, size: int, seed: int) -> None:
    batches = list(iterate_rows(n, size, torch.Generator().manual_seed(seed)))
    assert sorted(torch.cat(batches).tolist()) == list(range(n))
    assert all(len(batch) <= size for batch in batches)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(0, 3))
def test_users_stay_together(users: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    (order,) = iterate_rows(len(users), 100, generator, torch.tensor(users))
    assert sorted(order.tolist()) == list(range(len(users)))
    visited = [users[row] for row in order.tolist()]
    changes = sum(a != b for a, b in pairwise(visited))
    assert changes == len(set(users)) - 1


def test_shared_recent_events_are_those_of_each_row(
    encoder: FeatureEncoder, rows: TrainingSet
) -> None:
    shared = rows.take(np.full(5, 333))
    lists = {
        name: Indexed(column.values.take([column.index[0]]), np.zeros(5, np.int32))
        for name, column in shared.lists.items()
    }
    request = encoder.transform(TrainingSet(shared.table, shared.vectors, lists))
    assert len(request.recent_items.values) == 2
    found = request.batch(torch.arange(5))
    expected = encoder.transform(rows).batch(torch.full((5,), 333))
    width = found.recent_mask.shape[1]
    for field in fields(Batch):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        if field.name.startswith("recent_"):
            assert len(one) == 1
            one, other = one.expand(5, *one.shape[1:]), other[:, :width]
        torch.testing.assert_close(one, other, msg=field.name)


def test_no_rows_are_a_batch_of_none(encoder: FeatureEncoder, rows: TrainingSet) -> None:
    none = encoder.transform(rows.take(np.zeros(0, np.int64)))
    assert len(none.batch(torch.arange(0)).recent_mask) == 0


def test_truncation_forgets_only_the_oldest_events(
    encoder: FeatureEncoder, rows: TrainingSet
) -> None:
    batch = encoder.transform(rows).batch(torch.arange(200, 400))
    cut = truncate_recent_lists(batch, 0.5, torch.Generator().manual_seed(0))
    before, after = batch.recent_mask.sum(dim=1), cut.recent_mask.sum(dim=1)
    assert (after <= before).all() and (after < before).any() and (after == before).any()
    kept = torch.arange(cut.recent_mask.shape[1]) < after[:, None]
    torch.testing.assert_close(cut.recent_mask, kept)
    assert not (cut.recent_text_mask & ~cut.recent_mask).any()
