"""Ranks of the past: from the offline store as it would have been served, and made in memory."""

from dataclasses import replace

import numpy as np
import pytest

from cli.feast_repository import open_store
from evaluation.memory_log import MemoryLog
from evaluation.model_ranks import ModelRanks
from evaluation.past import PastRanks
from evaluation.protocol import Queries, next_positives
from evaluation.recipe import Recipe, newest_events
from evaluation.variants import WITHOUT_CHOOSER, measure_ablations, measure_learning
from intake.model_settings import ChooserConfig, NextItemConfig, SequenceConfig
from serving.past import PastRecommender
from tests.conftest import Project
from tests.trained import before_test
from training.next_item.fit_log import StoredLog
from training.next_item.model import signal_names

SMALL = NextItemConfig(
    refit_every=800,
    phases=1,
    sequence=SequenceConfig(width=16, epochs=2, more_epochs=1),
    chooser=ChooserConfig(width=8, epochs=2),
)


@pytest.fixture(scope="module")
def log(films: Project) -> StoredLog:
    return StoredLog(films.workspace, open_store(films.workspace))


@pytest.fixture(scope="module")
def queries(log: StoredLog) -> Queries:
    return next_positives(log.events, limit=40)


@pytest.fixture(scope="module")
def recipe(log: StoredLog, queries: Queries) -> Recipe:
    history = log.workspace.dataset.activity.history
    return Recipe.of(log, queries.n_fitted, SMALL, history)


def test_the_past_by_the_store_is_the_past_in_memory(
    films: Project, log: StoredLog, queries: Queries
) -> None:
    dataset = films.workspace.dataset
    artifact = before_test(films.workspace)
    choices_alone = dataset.ranker.model_copy(update={"satisfaction": 0.0, "value": 0.0})
    changed = dataset.model_copy(update={"ranker": choices_alone})
    workspace = replace(films.workspace, dataset=changed)
    served = PastRanks(PastRecommender(workspace, log.store, artifact))(queries)
    model, history = artifact.require_next_item(), dataset.activity.history
    rows = log.item_rows(queries.n_fitted)
    every = dataset.candidates.refit_every
    memory = MemoryLog(log.events, rows, log.profile, history, every)
    made = ModelRanks(memory, rows, history, model)(queries)
    stored = ModelRanks(log, rows, history, model)(queries)
    assert stored.rank.tolist() == made.rank.tolist()
    # ties and the last digits of two orders of addition may differ
    assert (served.rank == made.rank).mean() > 0.95
    assert (served.top == made.top).mean() > 0.95
    assert served.n_ranked.tolist() == made.n_ranked.tolist()
    assert np.abs(served.candidate - made.candidate).mean() < 1
    assert {*served.sources} == {*signal_names(model.config.repeats)}
    best = np.stack([each.first for each in served.sources.values()]).min(axis=0)
    assert (best >= 1).all()


def test_a_source_that_says_nothing_is_left_out(shop: Project) -> None:
    store = open_store(shop.workspace)
    events = StoredLog(shop.workspace, store).events
    recommender = PastRecommender(shop.workspace, store, before_test(shop.workspace))
    found = PastRanks(recommender)(next_positives(events, limit=5))
    assert {"together", "popular", "sequence"} <= {*found.sources}
    assert {*found.sources}.isdisjoint({"disliked", "liked_rate"}), "every event is a purchase"


def test_answers_come_back_in_the_order_of_the_queries(
    films: Project, log: StoredLog, queries: Queries
) -> None:
    artifact = before_test(films.workspace)
    recommender = PastRecommender(films.workspace, log.store, artifact)
    mixed = replace(queries, rows=np.random.default_rng(0).permutation(queries.rows)[:10])
    found = PastRanks(recommender)(mixed)
    for at in range(3):
        alone = PastRanks(recommender)(replace(mixed, rows=mixed.rows[at : at + 1]))
        assert alone.rank[0] == found.rank[at]
        assert alone.top[0].tolist() == found.top[at].tolist()


def test_new_items_alone_leave_out_what_the_user_had(
    films: Project, log: StoredLog, queries: Queries
) -> None:
    dataset = films.workspace.dataset
    may_repeat = dataset.candidates.model_copy(update={"repeats": True})
    changed = dataset.model_copy(update={"candidates": may_repeat})
    workspace = replace(films.workspace, dataset=changed)
    artifact = before_test(films.workspace)
    recommender = PastRecommender(workspace, log.store, artifact)
    all_of, new = (PastRanks(recommender, new_only=only)(queries) for only in (False, True))
    is_new = queries.rankable
    at = np.arange(len(queries))[:, None]
    assert not is_new[at, all_of.top].all()
    assert is_new[at, new.top].all()
    assert new.n_ranked.tolist() == is_new.sum(axis=1).tolist()
    assert (new.rank <= all_of.rank).all() and (new.rank >= 1).all()


def test_a_log_in_memory_fits_as_the_stored_one(recipe: Recipe, queries: Queries) -> None:
    ranks = recipe.fit(queries.events, queries.n_fitted, 0)
    found = ranks(queries)
    assert found.rank.min() >= 1
    again = recipe.fit(queries.events, queries.n_fitted, 0)(queries)
    assert found.rank.tolist() == again.rank.tolist()
    assert replace(ranks, choose=False)(queries).rank.tolist() == found.candidate.tolist()


def test_variants_are_measured_by_seed(recipe: Recipe, queries: Queries) -> None:
    steps: list[int] = []
    found = measure_ablations(
        recipe,
        queries,
        "test",
        variants={"short": newest_events(2)},
        seeds=(0, 1),
        progress=lambda what, done, total: steps.append(done),
    )
    assert len(found.recipe) == 2
    assert [each.name for each in found.variants] == [WITHOUT_CHOOSER, "short"]
    for each in found.variants:
        expected = np.mean(each.ndcg) - np.mean(found.recipe)
        assert each.difference.mean == pytest.approx(expected)
        assert each.ndcg != found.recipe
    assert steps == list(range(4))


def test_more_events_are_a_point_each(recipe: Recipe, queries: Queries) -> None:
    def favourite(events: object, n_rows: int, seed: int) -> object:
        return lambda batch: np.eye(len(batch.events.items))[batch.target] * (n_rows > 2000)

    found = measure_learning(
        recipe,
        "ours",
        {"all or nothing": favourite},  # type: ignore[dict-item]
        queries,
        shares=(0.5, 1.0),
    )
    assert [curve.name for curve in found] == ["ours", "all or nothing"]
    half, whole = found[1].points
    assert (half.x, whole.x) == (queries.n_fitted // 2, queries.n_fitted)
    assert half.y < whole.y == 1.0
