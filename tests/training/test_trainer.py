"""Training finds an answer that is known, looks at no test label, and repeats itself exactly."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from feast_fusion.errors import SchemaError
from feast_fusion.training_set import TrainingSet
from intake.dataset import Dataset
from intake.model_settings import LossName, RankerConfig
from tests.training.synthetic import make_dataset, make_training_set, with_column, without
from training.calibration import Calibration
from training.fitting import Epoch
from training.metrics import auc, log_loss
from training.ranker.columns import number
from training.split import split_by_time
from training.trainer import TrainResult, refit, train

SMALL = {"batch_size": 128, "text_width": 4, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def rows() -> TrainingSet:
    return make_training_set()


def fit(
    rows: TrainingSet, dataset: Dataset | None = None, seed: int = 0, **options: object
) -> TrainResult:
    config = RankerConfig.model_validate(SMALL | {"epochs": 6} | options)
    return train(rows, dataset or make_dataset(), config, service="s", encoder_id="e", seed=seed)


def auc_on_test(result: TrainResult, rows: TrainingSet) -> float:
    test = rows.take(split_by_time(rows.table).test)
    return auc(test.table["label"].to_numpy(), result.artifact.score(test))


@pytest.mark.parametrize("fusion", ["concatenation", "weighted", "gated", "transformer"])
def test_every_fusion_finds_the_users_group(rows: TrainingSet, fusion: str) -> None:
    result = fit(rows, fusion=fusion, width=16)
    assert auc_on_test(result, rows) > 0.85
    test = split_by_time(rows.table).test
    counts = np.nan_to_num(number(rows.take(test), "item_stats__item_n_positive"))
    popular = auc(rows.table["label"].to_numpy()[test], counts)
    assert popular < 0.65, "counts do not tell the group"


@pytest.mark.parametrize("modality", ["structured", "collaborative", "text"])
def test_each_modality_finds_the_group_by_itself(rows: TrainingSet, modality: str) -> None:
    assert auc_on_test(fit(rows, modalities=[modality], width=16), rows) > 0.85


@pytest.mark.parametrize("loss", ["bpr", "joint"])
def test_pairwise_objectives_learn_too(rows: TrainingSet, loss: LossName) -> None:
    assert auc_on_test(fit(rows, loss=loss, truncate=0.3), rows) > 0.85


def test_the_same_seed_is_the_same_model(rows: TrainingSet) -> None:
    one, again, other = (fit(rows, seed=seed, epochs=2) for seed in (3, 3, 4))
    assert one.history == again.history
    scores = [result.artifact.score(rows) for result in (one, again, other)]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])


def test_labels_of_test_rows_are_not_looked_at(rows: TrainingSet) -> None:
    labels = rows.table["label"].to_numpy().copy()
    test = split_by_time(rows.table).test
    labels[test] = 1 - labels[test]
    changed = with_column(rows, "label", pa.array(labels))
    scores = [fit(r, epochs=2).artifact.score(rows) for r in (rows, changed)]
    np.testing.assert_array_equal(*scores)


def test_the_best_epoch_is_kept_and_the_rest_not_waited_for(rows: TrainingSet) -> None:
    result = fit(rows, epochs=40, patience=2)
    assert len(result.history) < 40
    assert result.artifact.metrics["validation_auc"] == max(result.history)
    validation = rows.take(split_by_time(rows.table).validation)
    kept = auc(validation.table["label"].to_numpy(), result.artifact.score(validation))
    assert kept == pytest.approx(max(result.history))
    assert f"after epoch {int(np.argmax(result.history)) + 1}" in result.summary()


def test_implicit_data_without_users_values_or_vectors(rows: TrainingSet) -> None:
    fewer = without(rows, "user_profile", "item_embedding", "user_recent__values")
    values = rows.lists["user_recent__values"]
    absent = pa.ListArray.from_arrays(
        values.values.offsets, pa.array(np.full(len(values.values.flatten()), np.nan, np.float32))
    )
    lists = dict(fewer.lists) | {"user_recent__values": type(values)(absent, values.index)}
    implicit = TrainingSet(fewer.table, {}, lists)
    result = fit(implicit, make_dataset(explicit=False, users=False))
    assert auc_on_test(result, implicit) > 0.85


def test_two_absurd_prices_among_a_thousand_cost_nothing(rows: TrainingSet) -> None:
    """Prices tell the label; two of 99,999,999 must not make all others one price."""
    rng = np.random.default_rng(0)
    told = np.where(rng.random(len(rows)) < 0.95, 100 + 200 * number(rows, "label"), 200)
    price = told + rng.normal(0, 10, len(rows))
    spoiled = price.copy()
    spoiled[[3, 4]] = 99_999_999.0
    items = make_dataset().items.model_copy(update={"numeric": ("year", "price")})
    dataset = make_dataset().model_copy(update={"items": items})

    def quality(prices: np.ndarray) -> float:
        table = rows.table.append_column("item_profile__price", pa.array(prices))
        priced = TrainingSet(table, rows.vectors, rows.lists)
        result = fit(priced, dataset, epochs=4, modalities=["structured"], width=16)
        return auc_on_test(result, priced)

    assert quality(price) > 0.98
    assert quality(spoiled) == pytest.approx(quality(price), abs=0.005)


def test_progress_is_told_and_threads_are_given_back(rows: TrainingSet) -> None:
    told: list[Epoch] = []
    before = torch.get_num_threads()
    config = RankerConfig.model_validate(SMALL | {"epochs": 2})
    result = train(rows, make_dataset(), config, service="s", encoder_id=None, report=told.append)
    assert [epoch.number for epoch in told] == [1, 2]
    assert [epoch.auc for epoch in told] == result.history
    assert told[0].loss > told[1].loss > 0
    assert torch.get_num_threads() == before


def test_one_label_cannot_be_learned(rows: TrainingSet) -> None:
    liked = with_column(rows, "label", pa.array(np.ones(len(rows), np.int64)))
    with pytest.raises(SchemaError, match=r"training rows: got .* expected both 0 and 1"):
        fit(liked)


def test_few_rows_train_without_a_validation_label_to_compare(rows: TrainingSet) -> None:
    few = rows.take(np.arange(12))
    result = fit(few)
    assert np.isfinite(result.artifact.score(few)).all()


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValueError, match="momentum"):
        RankerConfig.model_validate({"momentum": 0.9})
    assert RankerConfig.model_validate({"fusion": "gated"}) == RankerConfig()


def test_a_refit_is_the_chosen_recipe_on_other_rows(rows: TrainingSet) -> None:
    result, split = fit(rows, epochs=3, patience=1), split_by_time(rows.table)
    same = refit(result, rows, split.train, make_dataset())
    np.testing.assert_array_equal(same.score(rows), result.artifact.score(rows))
    assert same.metrics == result.artifact.metrics
    served = refit(result, rows, split.all, make_dataset())
    assert not np.array_equal(served.score(rows), result.artifact.score(rows))
    assert served.features.prior == pytest.approx(rows.table["label"].to_numpy().mean())
    assert float(served.ranker.scale) == pytest.approx(result.calibration.scale)


def test_the_artifact_is_calibrated_on_the_validation_rows(rows: TrainingSet) -> None:
    result = fit(rows, epochs=2, learning_rate=2e-3)
    validation = rows.take(split_by_time(rows.table).validation)
    labels = validation.table["label"].to_numpy()
    calibrated = log_loss(labels, result.artifact.score(validation))
    Calibration().apply(result.artifact.ranker)
    assert calibrated < log_loss(labels, result.artifact.score(validation)) - 0.002


def test_labels_of_chance_are_ranked_by_chance() -> None:
    learnt, other = (make_training_set(300, noise=0.5, seed=seed) for seed in (1, 2))
    artifact = fit(learnt, epochs=2, width=16).artifact
    found = auc(other.table["label"].to_numpy(), artifact.score(other))
    assert found == pytest.approx(0.5, abs=0.02)
    after = learnt.take(split_by_time(learnt.table).test)
    assert auc(after.table["label"].to_numpy(), artifact.score(after)) == pytest.approx(
        0.5, abs=0.06
    )
