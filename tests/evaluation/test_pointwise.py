"""Liked or not: the same test rows for every model, none of them trained on."""

import numpy as np
import pytest

from evaluation.baselines.boosted_trees import boosted_trees_scores
from evaluation.pointwise import evaluate_ranker, pointwise_lines
from feast_fusion.training_set import TrainingSet
from intake.model_settings import RankerConfig
from tests.training.synthetic import make_dataset, make_training_set, without
from training.metrics import auc
from training.split import split_by_time
from training.trainer import train


@pytest.fixture(scope="module")
def rows() -> TrainingSet:
    return make_training_set(30)


def test_every_model_is_measured_on_the_test_rows(rows: TrainingSet) -> None:
    config = RankerConfig(epochs=1, batch_size=128)
    artifact = train(rows, make_dataset(), config, service="s", encoder_id=None).artifact
    found = evaluate_ranker(rows, artifact)
    test = rows.take(split_by_time(rows.table).test)
    scores, labels = artifact.score(test), test.table["label"].to_numpy()
    assert found.n_rows == len(test)
    assert found.metrics["ranker"]["auc"] == pytest.approx(auc(labels, scores))
    assert list(found.metrics) == ["ranker", "popularity"]
    assert not {"log_loss", "ece"} & {*found.metrics["popularity"]}
    title, head, *lines = pointwise_lines(found)
    assert title == "72 test rows"
    assert head.split() == list(found.metrics["ranker"])
    assert [line[:24].strip() for line in lines] == list(found.metrics)
    bins = found.reliability["ranker"]
    assert sum(each.n_rows for each in bins) == len(test)
    for each in bins:
        tenth = int(each.predicted * 10)
        inside = [n for n, score in enumerate(scores) if int(score * 10) == tenth]
        assert each.n_rows == len(inside)
        assert each.observed == pytest.approx(labels[inside].mean())
        assert each.predicted == pytest.approx(scores[inside].mean(), abs=1e-6)


def test_boosted_trees_read_text_only_where_they_may(rows: TrainingSet) -> None:
    # The vector tells the group of an item, the list of the user's categories the taste: trees
    # have no lists, so that a user's vector is needed beside the item's.
    split = split_by_time(rows.table)
    known, asked = rows.take(split.past), rows.take(split.test)
    with_text = boosted_trees_scores(known, asked, text=True)
    plain = boosted_trees_scores(known, asked, text=False)
    without_vectors = boosted_trees_scores(
        without(known, "item_embedding"), without(asked, "item_embedding"), text=True
    )
    assert with_text.shape == plain.shape == (len(asked),)
    np.testing.assert_array_equal(plain, without_vectors)
    assert not np.array_equal(with_text, plain)
