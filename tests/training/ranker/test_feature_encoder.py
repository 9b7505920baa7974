"""Inputs of the ranker: equal to a plain loop, independent of other rows, the same at serving."""

from dataclasses import fields, replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from feast_fusion.errors import SchemaError
from feast_fusion.training_set import Indexed, TrainingSet
from intake.outliers import FARTHEST
from tests.training.synthetic import make_dataset, make_training_set, with_column, without
from training.ranker.batching import Batch
from training.ranker.collaborative import NAMES
from training.ranker.columns import Profile
from training.ranker.derived_numbers import RATE_PRIOR, derive_numbers
from training.ranker.feature_encoder import CLIP, FeatureEncoder
from training.ranker.recent_lists import WINDOW_PRIOR, WINDOWS, RecentLists
from transformations.id_map import IdMap

TRAIN = np.arange(1000)


@pytest.fixture(scope="module")
def rows() -> TrainingSet:
    return make_training_set()


@pytest.fixture(scope="module")
def encoder(rows: TrainingSet) -> FeatureEncoder:
    return FeatureEncoder.fit(rows, TRAIN, make_dataset())


def batch_of(encoder: FeatureEncoder, rows: TrainingSet) -> Batch:
    return encoder.transform(rows).batch(torch.arange(len(rows)))


def assert_equal(found: Batch, expected: Batch, *, atol: float = 1e-6) -> None:
    for field in fields(Batch):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        torch.testing.assert_close(one, other, atol=atol, rtol=0, msg=field.name)


def repeated(rows: TrainingSet, row: int, n: int) -> TrainingSet:
    return rows.take(np.full(n, row))


def as_served(rows: TrainingSet) -> TrainingSet:
    """The same rows with every distinct value laid out anew, as a request has them."""

    def relaid(column: Indexed) -> Indexed:
        used, index = np.unique(column.index, return_inverse=True)
        index = index - int((used < 0).any())
        used = used[used >= 0]
        if isinstance(column.values, np.ndarray):
            return Indexed(column.values[used], index.astype(np.int32))
        return Indexed(column.values.take(pa.array(used)), index.astype(np.int32))

    return TrainingSet(
        rows.table,
        {name: relaid(column) for name, column in rows.vectors.items()},
        {name: relaid(column) for name, column in rows.lists.items()},
    )


def test_numbers_are_those_of_a_loop(rows: TrainingSet) -> None:
    found = derive_numbers(rows, Profile.of(make_dataset()), prior=0.6)
    for at in (0, 1, 30, 777, 1439):
        row = rows.table.slice(at, 1).to_pylist()[0]
        now = row["event_timestamp"].timestamp()
        n, k, last = (
            row[f"user_stats__user_{name}"] for name in ("n_events", "n_positive", "last_event_s")
        )
        expected = {"item_profile__year": row["item_profile__year"]}
        known = n is not None
        expected["user_stats__user_n_events"] = np.log1p(n) if known else None
        expected["user_stats__user_last_event_s"] = np.log1p(now - last) if known else None
        expected["user_stats__smoothed_rate"] = (
            (k + RATE_PRIOR * 0.6) / (n + RATE_PRIOR) if known else None
        )
        expected["affinity__rate"] = affinity_by_loop(rows, at, 0.6) if known else None
        for name, value in expected.items():
            wanted = np.nan if value is None else value
            np.testing.assert_allclose(found[name][at], wanted, err_msg=name)


def affinity_by_loop(rows: TrainingSet, at: int, prior: float) -> float:
    genres, names, events, positives = (
        rows.lists[name].values[rows.lists[name].index[at]].as_py()
        for name in (
            "item_profile__genres",
            "user_stats__categories",
            "user_stats__category_events",
            "user_stats__category_positives",
        )
    )
    n = sum(n for name, n in zip(names, events, strict=True) if name in genres)
    k = sum(k for name, k in zip(names, positives, strict=True) if name in genres)
    return (k + RATE_PRIOR * prior) / (n + RATE_PRIOR)


def test_several_categorical_columns_are_counted_by_column_and_value(rows: TrainingSet) -> None:
    counted = rows.lists["user_stats__categories"]
    flat = pa.array([f"genres={name}" for name in counted.values.flatten().to_pylist()])
    prefixed = pa.ListArray.from_arrays(counted.values.offsets, flat)
    lists = dict(rows.lists) | {"user_stats__categories": Indexed(prefixed, counted.index)}
    colour = pa.array(["red"] * len(rows))
    table = rows.table.append_column("item_profile__colour", colour)
    two = Profile.of(make_dataset(categorical=("genres", "colour")))
    found = derive_numbers(TrainingSet(table, rows.vectors, lists), two, 0.6)
    expected = derive_numbers(rows, Profile.of(make_dataset()), 0.6)
    np.testing.assert_array_equal(found["affinity__rate"], expected["affinity__rate"])


def test_means_of_recent_windows_by_loop(rows: TrainingSet) -> None:
    lists = rows.lists["user_recent__positives"]
    found = RecentLists.of(rows, IdMap.of([]), 50).summary(0.6)
    for at in (0, 1, 10, 23, 900):
        for k in WINDOWS:
            value = found[f"recent__positives_{k}"][at]
            if lists.index[at] < 0:
                assert np.isnan(value)
                continue
            newest = lists.values[lists.index[at]].as_py()[:k]
            expected = (sum(newest) + WINDOW_PRIOR * 0.6) / (len(newest) + WINDOW_PRIOR)
            assert value == pytest.approx(expected)


def test_recent_lists_are_cut_to_the_newest_and_unknown_items_are_zero(rows: TrainingSet) -> None:
    recent = RecentLists.of(rows, IdMap.of(["i3"]), 4)
    lists = rows.lists["user_recent__item_ids"].values
    at = len(lists) - 1
    assert recent.mask.shape == (len(lists) + 1, 4)
    assert recent.items[at].tolist() == [int(item == "i3") for item in lists[at].as_py()[:4]]
    assert recent.items.max() == 1
    assert not recent.mask[-1].any(), "the absent list"


def test_a_row_does_not_depend_on_the_rows_beside_it(
    encoder: FeatureEncoder, rows: TrainingSet
) -> None:
    chosen = np.random.default_rng(0).permutation(len(rows))[:64]
    together = batch_of(encoder, rows.take(chosen))
    everything = encoder.transform(rows).batch(torch.from_numpy(chosen))
    assert_equal(together, everything)


def every_row(batch: Batch) -> Batch:
    """The recent events that all rows share, once per row."""
    shared = {
        field.name: getattr(batch, field.name)
        for field in fields(Batch)
        if field.name.startswith("recent_")
    }
    n = len(batch.structured)
    return replace(batch, **{k: v.expand(n, *v.shape[1:]) for k, v in shared.items()})


def test_a_request_is_encoded_as_the_same_rows_of_a_training_set(
    encoder: FeatureEncoder, rows: TrainingSet
) -> None:
    candidates = rows.take(np.arange(1200, 1220))
    user = repeated(rows, 1210, 20)
    lists = dict(candidates.lists) | {
        name: column for name, column in user.lists.items() if name.startswith("user")
    }
    request = TrainingSet(candidates.table, candidates.vectors, lists)
    served = every_row(batch_of(encoder, as_served(request)))
    length = served.recent_mask.shape[1]
    expected = batch_of(encoder, request)
    # A request is as wide as its longest list; beyond it there are only absent events.
    assert not expected.recent_mask[:, length:].any()
    cut = {
        field.name: getattr(expected, field.name)[:, :length]
        for field in fields(Batch)
        if field.name.startswith("recent_")
    }
    others = {
        field.name: getattr(expected, field.name)
        for field in fields(Batch)
        if not field.name.startswith("recent_")
    }
    assert_equal(served, Batch(**cut, **others))


def test_rows_that_are_not_fitted_on_change_nothing(rows: TrainingSet) -> None:
    labels = rows.table["label"].to_numpy().copy()
    labels[1000:] = 1 - labels[1000:]
    changed = with_column(rows, "label", pa.array(labels))
    before, after = (FeatureEncoder.fit(r, TRAIN, make_dataset()) for r in (rows, changed))
    assert before.scales == after.scales
    alone = FeatureEncoder.fit(rows.take(TRAIN), TRAIN, make_dataset())
    assert before.scales == alone.scales and before.items.ids == alone.items.ids
    np.testing.assert_array_equal(before.item_texts, alone.item_texts)


def test_absent_values_are_marked_not_made_up(encoder: FeatureEncoder, rows: TrainingSet) -> None:
    names = list(encoder.scales)
    structured = encoder.transform(rows).structured
    absent = structured[:, len(names) + names.index("user_stats__user_n_events")]
    n_events = rows.table["user_stats__user_n_events"]
    assert absent.tolist() == n_events.is_null().to_pylist()
    scaled = structured[:, names.index("user_stats__user_n_events")]
    assert not scaled[absent > 0].any()


def test_categories_have_places_for_other_and_absent(rows: TrainingSet) -> None:
    encoder = FeatureEncoder.fit(rows, TRAIN, make_dataset())
    gender = pa.array(["f", "m", "x", None] * (len(rows) // 4))
    given = with_column(rows, "user_profile__gender", gender)
    known = encoder.vocabularies["user_profile__gender"]
    assert (known.values, known.buckets, known.shared) == (("f", "m"), 64, 0.0)
    first, second, other, absent = known.codes(given, "user_profile__gender")[:4, 0].tolist()
    assert (first, second, absent) == (1, 2, 67)
    assert 3 <= other <= 66
    before = len(encoder.vocabularies["item_profile__genres"])
    read = encoder.transform(given).categories[:4]
    assert read[:, -1].tolist() == [before + code for code in (first, second, other, absent)]
    assert encoder.n_codes == before + 67


def test_absent_vectors_and_lists_are_masked(encoder: FeatureEncoder, rows: TrainingSet) -> None:
    def absent(columns: dict[str, Indexed]) -> dict[str, Indexed]:
        return {
            name: Indexed(column.values, np.full(len(rows), -1, np.int32))
            for name, column in columns.items()
        }

    batch = batch_of(encoder, TrainingSet(rows.table, absent(rows.vectors), absent(rows.lists)))
    assert not batch.text_mask.any() and not batch.texts.any()
    assert not batch.recent_mask.any() and not batch.recent_values.any()


def test_an_item_of_after_the_training_has_its_text(
    encoder: FeatureEncoder, rows: TrainingSet
) -> None:
    new = with_column(rows, "item_id", pa.array(["new"] * len(rows)))
    assert batch_of(encoder, new).text_mask[:, 0].all()


def test_collaborative_numbers_are_apart_from_the_structured_ones(
    encoder: FeatureEncoder, rows: TrainingSet
) -> None:
    given = encoder.transform(rows).collaborative
    assert given.shape == (len(rows), 2 * len(NAMES))
    names = [name for name in encoder.scales if name.startswith("collaborative")]
    assert names == [f"collaborative__{name}" for name in NAMES]
    taste = rows.table["collaborative__value_taste"]
    at = names.index("collaborative__value_taste")
    assert given[:, len(names) + at].tolist() == taste.is_null().to_pylist()
    mean, deviation = encoder.scales["collaborative__value_taste"]
    known = taste.is_valid().to_numpy()
    scaled = ((taste.to_numpy()[known] - mean) / deviation).clip(-4, 4)
    np.testing.assert_allclose(given[known, at], scaled, rtol=1e-5)


@pytest.mark.parametrize("feature", ["item_stats", "user_recent", "item_embedding"])
def test_rows_without_a_trained_feature_are_refused(
    encoder: FeatureEncoder, rows: TrainingSet, feature: str
) -> None:
    with pytest.raises(SchemaError, match=f"rows without .*{feature}"):
        encoder.transform(without(rows, feature))


@pytest.mark.parametrize(
    "missing",
    [
        ("user_profile",),
        ("item_embedding",),
        ("user_recent", "user_stats"),
        ("item_profile__genres", "item_stats"),
    ],
)
def test_any_view_may_be_missing_from_a_service(
    rows: TrainingSet, missing: tuple[str, ...]
) -> None:
    fewer = without(rows, *missing)
    encoder = FeatureEncoder.fit(fewer, TRAIN, make_dataset())
    batch = batch_of(encoder, fewer)
    assert torch.isfinite(batch.structured).all()
    assert len(batch.structured) == len(rows)


def test_two_absurd_numbers_leave_the_scale_to_the_others(rows: TrainingSet) -> None:
    name = "item_profile__price"
    prices = np.random.default_rng(0).uniform(1, 500, len(rows))
    spoiled = prices.copy()
    spoiled[[3, 4]] = 99_999_999.0
    profile = make_dataset().items.model_copy(update={"numeric": ("year", "price")})
    dataset = make_dataset().model_copy(update={"items": profile})

    def fitted(column: np.ndarray) -> tuple[FeatureEncoder, TrainingSet]:
        table = rows.table.append_column(name, pa.array(column))
        priced = TrainingSet(table, rows.vectors, rows.lists)
        return FeatureEncoder.fit(priced, TRAIN, dataset), priced

    (plain, _), (robust, priced) = fitted(prices), fitted(spoiled)
    assert robust.scales[name] == pytest.approx(plain.scales[name], rel=0.1)
    assert {n: s for n, s in robust.scales.items() if n != name} == {
        n: s for n, s in plain.scales.items() if n != name
    }
    place = list(robust.scales).index(name)
    read = robust.transform(priced).structured[:, place].numpy()
    assert read[[3, 4]].max() == CLIP
    assert np.std(np.delete(read, [3, 4])) > 0.8


def test_values_of_a_live_client_gone_mad_leave_the_others_as_they_are(rows: TrainingSet) -> None:
    found = rows.lists["user_recent__values"]
    flat = found.values.flatten().to_numpy().copy()
    flat[[1, 500, 5000]] = 1e12
    mad = pa.ListArray.from_arrays(found.values.offsets, pa.array(flat))
    lists = dict(rows.lists) | {"user_recent__values": Indexed(mad, found.index)}
    plain, spoiled = (
        RecentLists.of(each, IdMap.of([]), 50)
        for each in (rows, TrainingSet(rows.table, rows.vectors, lists))
    )
    assert spoiled.value_spread == pytest.approx(plain.value_spread, rel=0.1)
    centred = spoiled.centred_values(spoiled.value_spread)
    assert np.abs(centred).max() == FARTHEST
