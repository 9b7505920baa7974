"""The report of an evaluation: the same test rows for every model, none of them trained on."""

import numpy as np
import pytest

from intake.model_settings import RankerConfig
from tests.training.synthetic import make_dataset, make_training_set
from training.evaluation import evaluate_ranker
from training.metrics import auc
from training.split import split_by_time
from training.trainer import train


def test_every_model_is_measured_on_the_test_rows() -> None:
    rows = make_training_set(30)
    config = RankerConfig(epochs=1, rank=4, batch_size=128)
    artifact = train(rows, make_dataset(), config, service="s", encoder_id=None).artifact
    found = evaluate_ranker(rows, artifact)
    test = rows.take(split_by_time(rows.table).test)
    assert found.n_rows == len(test) == found.to_dict()["test_rows"]
    expected = auc(test.table["label"].to_numpy(), artifact.score(test))
    assert found.metrics["ranker"]["auc"] == pytest.approx(expected)
    assert found.to_dict().keys() == {"test_rows", "ranker", "boosted trees", "popularity"}
    title, head, *lines = found.lines()
    assert title == "72 test rows"
    assert head.split() == list(found.metrics["ranker"])
    assert [line[:14].strip() for line in lines] == list(found.metrics)
    figures = [float(each) for each in lines[0][14:].split()]
    np.testing.assert_allclose(figures, list(found.metrics["ranker"].values()), atol=5e-5)
