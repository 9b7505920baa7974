"""A slate gives the ranker what the joined rows give it, and follows changes of its items."""

from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime

import numpy as np
import pytest
import torch

from feast_fusion.errors import SchemaError
from feast_fusion.redis_matrix import online_store_of
from serving.slate import Slate, Slates
from tests.conftest import Project
from tests.serving.recommending import Bench, open_bench
from tests.trained import served
from training.ranker.artifact import Artifact, probabilities
from training.ranker.batching import Batch
from training.ranker.collaborative import with_numbers
from training.ranker.columns import Numbers
from transformations.collaborative.histories import Histories

ITEMS = [f"f{i}" for i in range(60)] + ["nothing", "f3~"]


@pytest.fixture(scope="module")
def bench(films: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with open_bench(films.workspace, tmp_path_factory.mktemp("slate") / "redis") as opened:
        cached = online_store_of(opened.store).cached_reads(opened.store.config)
        opened.recommender.rank("u1", ITEMS)
        assert cached is not None and cached.wait_until_open(20)
        yield opened


@pytest.fixture(scope="module")
def artifact(films: Project) -> Artifact:
    return served(films.workspace)


def collaborative(slate: Slate, bench: Bench) -> dict[str, Numbers]:
    catalogue = bench.catalogue
    history = Histories.of(slate.user_row, catalogue.items)
    return catalogue.collaborators(history)[0].numbers(catalogue.items.codes(slate.item_ids))


def assert_same(slate: Slate, bench: Bench, artifact: Artifact) -> None:
    joined = bench.features.join(slate.user, slate.item_ids, slate.replies, slate.now)
    numbers = bench.catalogue.collaboration.numbers_of_rows(joined)
    rows = with_numbers(joined, numbers)
    every = torch.arange(len(slate))
    inputs = slate.inputs(collaborative(slate, bench))
    found = inputs.batch(every)
    expected = artifact.features.transform(rows).batch(every)
    for field in fields(Batch):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        torch.testing.assert_close(one, other, msg=f"{field.name}: {one} != {other}")
    np.testing.assert_allclose(
        probabilities(artifact.ranker, inputs), artifact.score(rows), atol=1e-6
    )


@pytest.mark.parametrize("user_id", ["u1", "u7", "nobody"])
def test_inputs_are_those_of_the_joined_rows(
    bench: Bench, artifact: Artifact, user_id: str
) -> None:
    slates = Slates(bench.features, artifact.features)
    for _ in range(3):  # from Redis, encoded; from the cache; all kept
        assert_same(slates.read(user_id, ITEMS, datetime.now(UTC)), bench, artifact)
    now = datetime.now(UTC)
    users, rows = bench.features.read_users([user_id, "u2", "nobody else"], now)
    of_each = slates.of(users, rows, [ITEMS[::-7], ITEMS[:9], ITEMS[5:30]], now)
    assert [slate.user.user_id for slate in of_each] == [user_id, "u2", "nobody else"]
    for slate in of_each:
        assert_same(slate, bench, artifact)


def test_a_changed_item_is_encoded_anew(bench: Bench, artifact: Artifact) -> None:
    slates = Slates(bench.features, artifact.features)
    before = slates.read("u1", ITEMS, datetime.now(UTC))
    now = int(datetime.now(UTC).timestamp())
    counts = {"n_events": 4_000, "n_positive": 3_999, "n_events_short": 9, "n_events_long": 99}
    counts = {f"item_{name}": n for name, n in counts.items()}
    bench.write(
        "item_stats",
        item_id="f5",
        item_positive_rate=0.99,
        item_value_mean=4.9,
        item_first_event_s=now - 9_999,
        item_last_event_s=now,
        **counts,
    )
    deadline = datetime.now(UTC).timestamp() + 20
    while True:
        after = slates.read("u1", ITEMS, datetime.now(UTC))
        if not np.array_equal(after.items.block.numbers[5], before.items.block.numbers[5]):
            break
        assert datetime.now(UTC).timestamp() < deadline
    assert_same(after, bench, artifact)


def test_more_items_than_are_kept_are_the_same(bench: Bench, artifact: Artifact) -> None:
    slates = Slates(bench.features, artifact.features, max_items=25)
    for start in (0, 15, 30, 0):
        slate = slates.read("u2", ITEMS[start : start + 20], datetime.now(UTC))
        assert_same(slate, bench, artifact)
    assert_same(slates.read("u2", ITEMS, datetime.now(UTC)), bench, artifact)


def test_no_items_are_an_empty_answer(bench: Bench, artifact: Artifact) -> None:
    slates = Slates(bench.features, artifact.features)
    slate = slates.read("u1", [], datetime.now(UTC))
    assert len(probabilities(artifact.ranker, slate.inputs(collaborative(slate, bench)))) == 0
    assert bench.recommender.rank("u1", []).items == []
    everything = bench.recommender.recommend("u1", 10, exclude=bench.catalogue.item_ids)
    assert everything.items == [] and not everything.degraded


def test_what_is_known_of_an_item_is_told(bench: Bench, artifact: Artifact) -> None:
    slates = Slates(bench.features, artifact.features)
    items = slates.read("u1", ITEMS, datetime.now(UTC)).items
    assert items.known.tolist() == [True] * 60 + [False, False]


def test_a_service_without_a_feature_of_the_ranker_is_refused(
    bench: Bench, artifact: Artifact
) -> None:
    columns = (*artifact.features.columns, "item_stats__mood")
    trained_on_more = replace(artifact.features, columns=columns)
    with pytest.raises(SchemaError, match="item_stats__mood"):
        Slates(bench.features, trained_on_more)
