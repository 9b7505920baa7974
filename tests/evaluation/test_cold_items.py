"""Held-out items: nothing of them is known before they are ranked."""

import numpy as np
import pyarrow as pa
import pytest

from evaluation.cold_items import ColdQueries, hold_out, measure_cold_items, text_cosine
from evaluation.cold_model import ColdModel
from evaluation.recipe import Recipe
from feast_fusion.training_set import Indexed, TrainingSet
from intake.model_settings import ChooserConfig, NextItemConfig, SequenceConfig
from tests.evaluation.logs import random_events, two_tastes
from training.ranker.columns import Profile
from transformations.collaborative.histories import Events


def events_of_films() -> Events:
    return random_events(5, n_users=30, n_items=150, n_events=3000)


def vectors_of(events: Events) -> np.ndarray:
    """(i, 4) L2-normalised, of which the first tells whether an item is even."""
    vectors = np.random.default_rng(0).normal(size=(len(events.items), 4)) * 0.2
    vectors[:, 0] += 1 + np.where(np.arange(len(vectors)) % 2, 0.5, -0.5)  # all have much in common
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32)


def test_what_is_asked_is_as_the_protocol_says() -> None:
    events = events_of_films()
    found = hold_out(events, 0)
    counts = np.bincount(events.item, minlength=150)
    assert len(found.held_out) == int(0.15 * (counts >= 10).sum())
    assert (counts[found.held_out] >= 10).all()
    assert not np.isin(found.warm.item, found.held_out).any()
    assert len(found.warm) == len(events) - np.isin(events.item, found.held_out).sum()
    start = len(events) - len(events) // 10
    assert found.n_fitted == (~np.isin(events.item[:start], found.held_out)).sum()
    expected = []
    for row in range(start, len(events)):
        earlier = (events.user == events.user[row]) & (events.time < events.time[row])
        warm = earlier & ~np.isin(events.item, found.held_out)
        touched = set(events.item[earlier].tolist())
        rankable = [
            item not in touched and events.known_from[item] <= events.time[row]
            for item in found.held_out.tolist()
        ]
        is_asked = (
            events.positive[row]
            and events.item[row] in found.held_out
            and (warm & events.positive).sum() >= 3
            and rankable[found.held_out.tolist().index(events.item[row])]
        )
        if is_asked:
            expected.append((int(events.user[row]), int(events.item[row]), rankable))
    asked = zip(found.user, found.held_out[found.target], found.rankable, strict=True)
    assert [(int(u), int(i), mask.tolist()) for u, i, mask in asked] == expected
    assert len(expected) > 10


def test_seeds_hold_out_different_items() -> None:
    events = events_of_films()
    assert hold_out(events, 0).held_out.tolist() == hold_out(events, 0).held_out.tolist()
    assert hold_out(events, 0).held_out.tolist() != hold_out(events, 1).held_out.tolist()


def test_text_finds_the_taste_and_chance_does_not() -> None:
    events = two_tastes(n_users=60, n_items=120, n_events=40)
    found = measure_cold_items(events, vectors_of(events), {"oracle": perfect}, seeds=(0, 1))
    mean = {name: float(np.mean(values)) for name, values in found.ndcg.items()}
    assert list(mean) == ["oracle", "text cosine", "chance", "true popularity"]
    assert mean["oracle"] == 1.0
    assert mean["text cosine"] > 1.2 * mean["chance"]
    assert all(len(values) == 2 for values in found.ndcg.values())
    assert found.n_queries > 20


def test_text_cosine_is_that_of_plain_vectors() -> None:
    events = events_of_films()
    vectors, queries = vectors_of(events), hold_out(events, 0)
    found, centred = text_cosine(queries, vectors), vectors - vectors.mean(axis=0)
    for at in (0, len(queries) - 1):
        rows = np.flatnonzero(
            (queries.warm.user == queries.user[at])
            & (queries.warm.time < queries.time[at])
            & queries.warm.positive
        )
        units = centred / np.linalg.norm(centred, axis=1, keepdims=True)
        taste = units[queries.warm.item[rows]].mean(axis=0)
        expected = units[queries.held_out] @ taste / np.linalg.norm(taste)
        np.testing.assert_allclose(found[at], expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_a_log_without_such_items_has_no_figure() -> None:
    events = random_events(n_events=30)
    found = measure_cold_items(events, vectors_of(events), {}, seeds=(0,))
    assert found.n_queries == 0
    assert found.ndcg["chance"] == [None]


def test_our_model_finds_them_by_what_they_are() -> None:
    events = two_tastes(n_users=60, n_items=120, n_events=40)
    every = np.arange(120, dtype=np.int32)
    rows = TrainingSet(
        pa.table({"item_id": events.items.ids}),
        {"item_embedding": Indexed(vectors_of(events), every)},
        {},
    )
    config = NextItemConfig(
        refit_every=800,
        phases=1,
        sequence=SequenceConfig(width=16, epochs=4, more_epochs=1),
        chooser=ChooserConfig(width=8, epochs=2),
    )
    model = ColdModel(Recipe(rows, Profile((), (), ()), config, history=20))
    queries = hold_out(events, 0)
    scores = model(queries)
    assert scores.shape == queries.rankable.shape
    of_taste = queries.held_out[None, :] % 2 == queries.user[:, None] % 2
    assert scores[of_taste].mean() > scores[~of_taste].mean()
    found = measure_cold_items(events, vectors_of(events), {"ours": model}, seeds=(0,))
    assert found.ndcg["ours"] > found.ndcg["chance"]


def perfect(queries: ColdQueries) -> np.ndarray:
    return np.eye(len(queries.held_out))[queries.target]
