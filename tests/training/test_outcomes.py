"""A head of its own for what an example became: learned beside liking, kept, and ordered by."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from feast_fusion.training_set import TrainingSet
from intake.model_settings import RankerConfig
from tests.training.synthetic import make_dataset, make_training_set
from training.metrics import auc
from training.ranker.artifact import Artifact, every_probability
from training.split import split_rows
from training.trainer import refit, train

BOUGHT = "outcome:it's bought"
CONFIG = RankerConfig(epochs=6, batch_size=128)


@pytest.fixture(scope="module")
def rows() -> TrainingSet:
    """Of what is liked, items from i15 on are bought."""
    rows = make_training_set(60)
    late = np.array([int(item[1:]) >= 15 for item in rows.table["item_id"].to_pylist()])
    bought = (rows.table["label"].to_numpy() == 1) & late
    table = rows.table.append_column(BOUGHT, pa.array(bought.astype(np.int64)))
    return TrainingSet(table, rows.vectors, rows.lists)


def test_a_head_says_how_likely_the_outcome_is(rows: TrainingSet, tmp_path: Path) -> None:
    dataset = make_dataset()
    result = train(rows, dataset, CONFIG, service="s", encoder_id="e")
    split = split_rows(rows.table)
    test = rows.take(split.test)
    bought = test.table[BOUGHT].to_numpy()
    for artifact in (result.artifact, refit(result, rows, split.past, dataset)):
        assert artifact.features.outcomes == ("it's bought",)
        inputs = artifact.features.transform(test)
        liked, outcome = every_probability(artifact.ranker, inputs).T
        assert auc(bought, outcome) > max(0.8, auc(bought, liked) + 0.05)
        np.testing.assert_array_equal(liked, artifact.score(test))
        again = Artifact.load(artifact.save(tmp_path / "artifact"))
        np.testing.assert_array_equal(every_probability(again.ranker, inputs)[:, 1], outcome)


def test_an_outcome_is_no_feature(rows: TrainingSet) -> None:
    """Rows to score need not have it."""
    short = CONFIG.model_copy(update={"epochs": 1})
    trained = train(rows, make_dataset(), short, service="s", encoder_id="e").artifact
    without = TrainingSet(rows.table.drop_columns([BOUGHT]), rows.vectors, rows.lists)
    np.testing.assert_array_equal(trained.score(without), trained.score(rows))
