"""Choices of chance are ranked by chance; more than that would be a leak."""

from dataclasses import replace

import numpy as np
import pyarrow as pa

from evaluation.measures import Gains, Interval, bootstrap_by_user, gains
from evaluation.protocol import Queries, next_positives
from evaluation.recipe import Recipe
from feast_fusion.training_set import Indexed, TrainingSet
from intake.model_settings import ChooserConfig, NextItemConfig, SequenceConfig
from tests.evaluation.logs import two_tastes
from tests.evaluation.test_cold_items import vectors_of
from training.ranker.columns import Profile
from transformations.collaborative.histories import Events

SMALL = NextItemConfig(
    refit_every=800,
    phases=1,
    sequence=SequenceConfig(width=16, epochs=3, more_epochs=2),
    chooser=ChooserConfig(width=8, epochs=3),
)


def shuffled(events: Events) -> Events:
    """Each event of a user is with any item that the user had none with, all equally likely."""
    rng, items = np.random.default_rng(0), np.empty_like(events.item)
    for user in range(len(events.users)):
        own = np.flatnonzero(events.user == user)
        items[own] = rng.permutation(len(events.items))[: len(own)]
    return replace(events, item=items)


def more_than_chance(events: Events) -> Interval:
    """NDCG@10 of the whole model less that of a random order, per query."""
    queries = next_positives(events, limit=None)
    every = np.arange(len(events.items), dtype=np.int32)
    vectors = {"item_embedding": Indexed(vectors_of(events), every)}
    rows = TrainingSet(pa.table({"item_id": events.items.ids}), vectors, {})
    recipe = Recipe(rows, Profile((), (), ()), SMALL, history=10)
    ranked = recipe.fit(events, queries.n_fitted, seed=0)(queries)
    assert (ranked.rank > 0).all()
    ours = gains(ranked.rank)["ndcg@10"]
    return bootstrap_by_user(queries.user, ours - chance(queries))


def chance(queries: Queries) -> Gains:
    """(q,) the expected NDCG@10 when every order of the ranked items is equally likely."""
    n = queries.rankable.sum(axis=1)
    of_place = gains(np.arange(1, n.max() + 1))["ndcg@10"]
    found: Gains = of_place.cumsum()[n - 1] / n
    return found


def test_choices_of_chance_are_ranked_by_chance() -> None:
    events = two_tastes(n_users=500, n_items=24, n_events=8)
    learnt, nothing = more_than_chance(events), more_than_chance(shuffled(events))
    assert learnt.low > 0.1, "the two tastes are found"
    assert nothing.low < 0.0 < nothing.high
    assert nothing.high - nothing.low < 0.08, "a small leak would be seen"
