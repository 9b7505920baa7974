"""Text is worth something where it alone tells the taste, and nothing where it is noise."""

import numpy as np
import pyarrow as pa
import pytest

from evaluation.recipe import Recipe
from evaluation.text_worth import measure_found_by_text, measure_liked_by_text
from feast_fusion.training_set import Indexed, TrainingSet
from intake.model_settings import ChooserConfig, NextItemConfig, RankerConfig, SequenceConfig
from tests.evaluation.logs import two_tastes
from tests.training.synthetic import make_dataset, make_training_set, without
from training.ranker.columns import Profile

CONFIG = NextItemConfig(
    refit_every=800,
    phases=1,
    sequence=SequenceConfig(width=16, epochs=4, more_epochs=1),
    chooser=ChooserConfig(width=8, epochs=2),
)
EVENTS = two_tastes(n_users=60, n_items=160, n_events=40)


def recipe(vectors: np.ndarray) -> Recipe:
    every = np.arange(len(vectors), dtype=np.int32)
    rows = TrainingSet(
        pa.table({"item_id": EVENTS.items.ids}), {"item_embedding": Indexed(vectors, every)}, {}
    )
    return Recipe(rows, Profile((), (), ()), CONFIG, history=20)


def test_the_ranker_misses_text_where_nothing_else_tells() -> None:
    rows = without(make_training_set(40), "item_profile__genres", "user_stats__categ")
    dataset = make_dataset(categorical=())
    ranker = RankerConfig(
        modalities=("structured", "text"),
        epochs=6,
        batch_size=128,
        text_width=4,
        learning_rate=1e-2,
        width=16,
    )
    dataset = dataset.model_copy(update={"ranker": ranker})
    found = measure_liked_by_text(rows, dataset, seeds=(0, 1))
    assert found.n_rows == 96 and len(found.having) == len(found.lacking) == 2
    assert all(value is not None and value > 0.8 for value in found.having)
    assert all(value is not None and value < 0.7 for value in found.lacking)
    assert found.is_significant and found.difference.low and found.difference.low > 0.1


@pytest.mark.parametrize("tells", [True, False])
def test_new_items_are_found_by_text_where_it_tells_the_taste(tells: bool) -> None:
    vectors = np.random.default_rng(0).normal(size=(160, 4)).astype(np.float32)
    if tells:
        vectors[:, 0] += np.where(np.arange(160) % 2, 3, -3)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = measure_found_by_text(recipe(vectors), EVENTS, seeds=(0,), depth=8)
    assert found.n_rows > 20
    assert found.is_significant == tells
    if tells:
        assert found.difference.mean and found.difference.mean > 0.1
