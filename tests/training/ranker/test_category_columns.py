"""Categories as codes: the plain loop, and three hundred brands that decide the label."""

import numpy as np
import pyarrow as pa
import pytest

from evaluation.pointwise import evaluate_ranker, pointwise_lines
from feast_fusion.times import TIMESTAMP
from feast_fusion.training_set import Indexed, TrainingSet
from intake.model_settings import RankerConfig
from tests.training.synthetic import make_dataset
from training.metrics import auc
from training.ranker.category_columns import MIN_ROWS, Vocabulary, fit_codes, join_codes
from training.split import split_by_time
from training.trainer import train

TAGS = "item_profile__tags"
LISTS = [["a", "b"], ["a"], ["c", "a"], [], ["b", "d", "e"]]
ROWS = [0, 1, 2, 3, 4, -1, 0, 1, 1, 4, 4, 4, 4]


@pytest.fixture
def tagged() -> TrainingSet:
    table = pa.table({"user_id": ["u"] * len(ROWS)})
    return TrainingSet(table, {}, {TAGS: Indexed(pa.array(LISTS), np.array(ROWS, np.int32))})


def test_frequent_values_have_codes_and_others_share(tagged: TrainingSet) -> None:
    """a is in 6 rows, b in 7, d and e in 5, c in 1."""
    known = fit_codes(tagged, TAGS, limit=3, buckets=2)
    assert known.values == ("b", "a", "d") and MIN_ROWS == 5
    assert known.shared == pytest.approx((1 + 5) / 24)
    assert fit_codes(tagged, TAGS, limit=9, buckets=2).values == ("b", "a", "d", "e")
    codes = known.codes(tagged, TAGS)
    for row, at in enumerate(ROWS):
        expected = {len(known)} if at < 0 else {*(of_value(known, each) for each in LISTS[at])}
        assert {*codes[row].tolist()} - {0} == expected
    assert len(known) == 6


def of_value(known: Vocabulary, value: str) -> int:
    rows = TrainingSet(pa.table({TAGS: [value]}), {}, {})
    code = int(known.codes(rows, TAGS)[0, 0])
    is_own = value in known.values
    assert code == known.values.index(value) + 1 if is_own else 4 <= code <= 5
    return code


def test_equal_rows_are_equal_arrays(tagged: TrainingSet) -> None:
    known = fit_codes(tagged, TAGS, limit=3, buckets=2)
    codes = known.codes(tagged, TAGS)
    wider = np.pad(codes[:, ::-1], ((0, 0), (0, 4)))
    other = np.where(np.arange(len(ROWS)) % 2 == 0, 1, 2).astype(np.int32)[:, None]
    one, two = (join_codes([each, other], [0, 10], len(ROWS)) for each in (codes, wider))
    np.testing.assert_array_equal(one, two)
    assert one.shape == (len(ROWS), 4)
    assert join_codes([], [], 3).tolist() == [[0]] * 3


def brands(n_rows: int = 9000, n_brands: int = 300) -> TrainingSet:
    """Rows whose label is that of their brand; nothing else tells it."""
    rng = np.random.default_rng(0)
    brand = rng.integers(0, n_brands, n_rows)
    good = rng.random(n_brands) < 0.5
    times = pa.array(np.arange(n_rows) * 1_000_000).cast(TIMESTAMP)
    table = pa.table(
        {
            "user_id": [f"u{u}" for u in rng.integers(0, 500, n_rows)],
            "item_id": [f"i{i}" for i in rng.integers(0, 5000, n_rows)],
            "event_timestamp": times,
            "label": good[brand].astype(np.int64),
            "item_profile__brand": [f"brand {b}" for b in brand],
            "item_stats__item_n_positive": np.zeros(n_rows, dtype=np.int64),
            "item_profile__year": rng.integers(1950, 2020, n_rows),
        }
    )
    nothing = np.full(n_rows, -1, np.int32)
    names = ("item_ids", "values", "positives", "ages_s")
    kinds = (pa.string(), pa.float32(), pa.int64(), pa.int64())
    lists = {
        f"user_recent__{name}": Indexed(pa.array([[]], pa.list_(kind)), nothing)
        for name, kind in zip(names, kinds, strict=True)
    }
    return TrainingSet(table, {}, lists)


@pytest.mark.parametrize(
    ("categories", "buckets", "low", "high"), [(1024, 64, 0.98, 1.0), (64, 1, 0.5, 0.8)]
)
def test_three_hundred_brands_decide_the_label(
    categories: int, buckets: int, low: float, high: float
) -> None:
    rows, dataset = brands(), make_dataset(categorical=("brand",), users=False)
    config = RankerConfig(
        categories=categories,
        category_buckets=buckets,
        modalities=("structured",),
        batch_size=256,
        epochs=8,
    )
    trained = train(rows, dataset, config, service="s", encoder_id=None).artifact
    test = rows.take(split_by_time(rows.table).test)
    assert low < auc(test.table["label"].to_numpy(), trained.score(test)) <= high
    said = pointwise_lines(evaluate_ranker(rows, trained))[-1]
    shared = trained.features.vocabularies["item_profile__brand"].shared
    if categories > 300:
        assert shared == 0 and said.startswith("popularity")
    else:
        told = f"Categories that share codes with others, of all: item_profile__brand {shared:.1%}."
        assert shared > 0.7 and said == told
