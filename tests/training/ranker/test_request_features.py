"""A request encoded side by side gives the inputs that its joined rows give."""

from dataclasses import fields

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_fusion.training_set import Indexed, TrainingSet
from intake.context import ContextColumns
from intake.writer_settings import WriterConfig
from tests.training.synthetic import make_dataset, make_training_set, with_column, without
from training.ranker.batching import Batch
from training.ranker.columns import number
from training.ranker.feature_encoder import FeatureEncoder
from training.ranker.request_features import RequestEncoder

USER = ("user_id", "user_", "event_timestamp", "context__")


@pytest.fixture(scope="module")
def rows() -> TrainingSet:
    rows = make_training_set(20)
    instants = pa.array([None if i % 4 == 0 else i for i in range(len(rows))], pa.int64())
    table = rows.table.append_column("item_stats__item_last_event_s", instants)
    devices = pa.array([["phone", "desktop", None, "tv"][i % 4] for i in range(len(rows))])
    depths = pa.array([None if i % 5 == 0 else i / 7 for i in range(len(rows))], pa.float64())
    table = table.append_column("context__device", devices).append_column("context__depth", depths)
    moods = pa.array([(None, "light", "dark")[i % 3] for i in range(len(rows))])
    table = table.append_column("item_attributes__mood", moods)
    lists = {**rows.lists, "item_attributes__themes": rows.lists["item_profile__genres"]}
    return TrainingSet(table, rows.vectors, lists)


@pytest.fixture(scope="module", params=[("genres",), ("genres", "country"), "written"])
def encoder(rows: TrainingSet, request: pytest.FixtureRequest) -> FeatureEncoder:
    is_written = request.param == "written"
    dataset = make_dataset(categorical=("genres",) if is_written else request.param)
    context = ContextColumns(numeric=("depth",), categorical=("device",))
    interactions = dataset.interactions.model_copy(update={"context": context})
    writer = WriterConfig(model="any", choices={"mood": ("light", "dark")}, words={"themes": 2})
    dataset = dataset.model_copy(
        update={"interactions": interactions, "writer": writer if is_written else None}
    )
    encoder = FeatureEncoder.fit(rows, np.arange(300), dataset)
    written = {"item_attributes__mood", "item_attributes__themes"}
    assert written & set(encoder.vocabularies) == (written if is_written else set())
    return encoder


def joined(rows: TrainingSet, user: int, items: list[int]) -> TrainingSet:
    """The rows of `items` as if all were of the user of the row `user`, at its time."""
    taken, own = rows.take(np.array(items, np.int64)), rows.take(np.full(len(items), user))
    for name in rows.table.column_names:
        if name.startswith(USER):
            taken = with_column(taken, name, own.table[name])
    pick = {True: own, False: taken}
    return TrainingSet(
        taken.table,
        {name: pick[name.startswith("user")].vectors[name] for name in rows.vectors},
        {name: pick[name.startswith("user")].lists[name] for name in rows.lists},
    )


def collaborative(rows: TrainingSet) -> dict[str, np.ndarray]:
    names = [name for name in rows.table.column_names if name.startswith("collaborative")]
    return {name: number(rows, name) for name in names}


def of_items(rows: TrainingSet) -> TrainingSet:
    """What an item row of the online store has: nothing of users, and another time."""
    own = without(rows, "user_", "collaborative", "context")
    return with_column(
        own, "event_timestamp", pa.nulls(len(rows), own.table["event_timestamp"].type)
    )


def assert_same(found: Batch, expected: Batch) -> None:
    for field in fields(Batch):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        if field.name.startswith("recent_"):
            width = one.shape[1]
            assert not other[:, width:].any(), field.name
            one, other = one.expand(len(other), *one.shape[1:]), other[:, :width]
        torch.testing.assert_close(one, other, msg=f"{field.name}: {one} != {other}")


@settings(max_examples=60)
@given(user=st.integers(0, 479), items=st.lists(st.integers(0, 479), min_size=1, max_size=12))
def test_apart_and_joined_are_the_same(
    encoder: FeatureEncoder, rows: TrainingSet, user: int, items: list[int]
) -> None:
    request = RequestEncoder(encoder)
    none = request.encode_items(of_items(rows.take(np.zeros(0, np.int64))))
    block, at = none.with_room(len(items)), 0
    for part in np.array_split(np.array(items, np.int64), 3):
        more = request.encode_items(of_items(rows.take(part)))
        block = block.put(np.arange(at, at + len(part)), more)
        at += len(part)
    whole = joined(rows, user, items)
    now_s = whole.table["event_timestamp"].cast(pa.int64())[0].as_py() / 1e6
    user_row = without(whole.take(np.zeros(1, np.int64)), "item_", "collaborative")
    numbers = collaborative(whole)
    found = request.transform(request.encode_users(user_row)[0], block, now_s, numbers)
    expected = encoder.transform(whole)
    every = torch.arange(len(items))
    assert_same(found.batch(every), expected.batch(every))
    order = np.random.default_rng(0).permutation(len(items))
    moved = {name: column[order] for name, column in numbers.items()}
    again = request.transform(request.encode_users(user_row)[0], block.take(order), now_s, moved)
    assert_same(again.batch(every), expected.batch(torch.from_numpy(order)))


def test_a_user_without_anything(encoder: FeatureEncoder, rows: TrainingSet) -> None:
    whole = joined(rows, 5, [3, 300])
    nothing = {
        name: pa.nulls(2, whole.table[name].type)
        for name in whole.table.column_names
        if name.startswith(("user_stats", "user_profile"))
    }
    for name, column in nothing.items():
        whole = with_column(whole, name, column)

    def absent(column: Indexed) -> Indexed:
        return Indexed(column.values, np.full(2, -1, np.int32))

    whole = TrainingSet(
        whole.table,
        {n: absent(c) if n.startswith("user") else c for n, c in whole.vectors.items()},
        {n: absent(c) if n.startswith("user") else c for n, c in whole.lists.items()},
    )
    request = RequestEncoder(encoder)
    block = request.encode_items(of_items(whole))
    now_s = whole.table["event_timestamp"].cast(pa.int64())[0].as_py() / 1e6
    user_row = without(whole.take(np.zeros(1, np.int64)), "item_", "collaborative")
    found = request.transform(request.encode_users(user_row)[0], block, now_s, collaborative(whole))
    assert_same(found.batch(torch.arange(2)), encoder.transform(whole).batch(torch.arange(2)))


def test_a_request_without_context_has_it_absent(
    encoder: FeatureEncoder, rows: TrainingSet
) -> None:
    whole = joined(rows, 5, [3, 300])
    for name in ("context__device", "context__depth"):
        whole = with_column(whole, name, pa.nulls(2, whole.table[name].type))
    request = RequestEncoder(encoder)
    block = request.encode_items(of_items(whole))
    now_s = whole.table["event_timestamp"].cast(pa.int64())[0].as_py() / 1e6
    user_row = without(whole.take(np.zeros(1, np.int64)), "item_", "collaborative", "context")
    found = request.transform(request.encode_users(user_row)[0], block, now_s, collaborative(whole))
    assert_same(found.batch(torch.arange(2)), encoder.transform(whole).batch(torch.arange(2)))
