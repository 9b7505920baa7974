"""A training set on disk and in memory; and what a job makes of a repository that is not ours."""

import os
import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureStore
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_fusion.errors import SchemaError
from feast_fusion.sealed_json import write_json
from feast_fusion.training_set import Indexed, TrainingSet
from feast_fusion.training_set_files import MANIFEST
from tests.damages import Damage, emptied, flipped, halved, overwritten
from tests.feast_fusion.feast_repo import FEAST, FeastRepo
from tests.feast_fusion.retrieval.offline_repo import OURS, STOCK

INDEX = np.array([1, -1, 0, 1], np.int32)


def example() -> TrainingSet:
    return TrainingSet(
        pa.table({"user_id": ["a", "b", "c", None], "label": [1, 0, 1, 0]}),
        {"emb": Indexed(np.array([[1, 2, 3], [4, 5, 6]], np.float32), INDEX)},
        {
            "tags": Indexed(pa.array([["x"], ["y", None]]), INDEX),
            "ages": Indexed(pa.array([[1], [2, 3]]), INDEX),
        },
    )


def rows(training_set: TrainingSet) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = training_set.to_arrow().to_pylist()
    return found


def test_a_row_is_the_value_at_its_index() -> None:
    assert rows(example())[:2] == [
        {"user_id": "a", "label": 1, "emb": [4, 5, 6], "tags": ["y", None], "ages": [2, 3]},
        {"user_id": "b", "label": 0, "emb": None, "tags": None, "ages": None},
    ]
    assert example().vectors["emb"].present.tolist() == [True, False, True, True]


@settings(max_examples=30)
@given(st.lists(st.integers(0, 3)))
def test_take_moves_indices_only(wanted: list[int]) -> None:
    whole = example()
    part = whole.take(np.array(wanted, np.int64))
    assert rows(part) == [rows(whole)[row] for row in wanted]
    assert part.vectors["emb"].values is whole.vectors["emb"].values
    assert part.lists["tags"].index is part.lists["ages"].index


def test_opens_as_it_was_saved_and_memory_mapped(tmp_path: Path) -> None:
    example().save(tmp_path / "deep" / "set")
    opened = TrainingSet.open(tmp_path / "deep" / "set")
    assert rows(opened) == rows(example())
    assert isinstance(opened.vectors["emb"].values, np.memmap)
    assert opened.lists["tags"].index is opened.lists["ages"].index
    assert rows(opened.take(np.array([3, 0]))) == [rows(example())[i] for i in (3, 0)]
    opened.save(tmp_path / "copy")
    assert rows(TrainingSet.open(tmp_path / "copy")) == rows(example())


def test_empty_set_opens(tmp_path: Path) -> None:
    empty = example().take(np.array([], np.int64))
    none = np.array([], np.int32)
    empty = TrainingSet(
        empty.table,
        {"emb": Indexed(np.empty((0, 3), np.float32), none)},
        {"tags": Indexed(pa.array([], pa.list_(pa.string())), none)},
    )
    opened = TrainingSet.open(empty.save(tmp_path / "empty"))
    assert len(opened) == 0
    assert opened.vectors["emb"].values.shape == (0, 3)


def test_saving_again_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    example().save(tmp_path / "set")
    example().take(np.array([0])).save(tmp_path / "set")
    assert len(TrainingSet.open(tmp_path / "set")) == 1
    assert {path.name for path in tmp_path.iterdir() if path.suffix != ".lock"} == {"set"}


def test_failed_save_keeps_the_earlier_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example().save(tmp_path / "set")

    def disk_full(*_: Any, **__: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "save", disk_full)
    with pytest.raises(OSError, match="No space"):
        example().take(np.array([0])).save(tmp_path / "set")
    with pytest.raises(OSError, match="No space"):
        example().save(tmp_path / "other")
    assert {path.name for path in tmp_path.iterdir() if path.suffix != ".lock"} == {"set"}
    assert rows(TrainingSet.open(tmp_path / "set")) == rows(example())


def test_rename() -> None:
    renamed = example().rename({"emb": "vector", "label": "y"})
    assert renamed.table.column_names == ["user_id", "y"]
    assert list(renamed.vectors) == ["vector"]
    with pytest.raises(SchemaError, match=r"got nothing, expected one of"):
        example().rename({"nothing": "x"})
    with pytest.raises(SchemaError, match="'label' more than once"):
        example().rename({"emb": "label"})


def test_wrong_parts_are_refused() -> None:
    with pytest.raises(SchemaError, match="got int64"):
        Indexed(np.zeros((1, 2), np.float32), np.zeros(1, np.int64))
    with pytest.raises(SchemaError, match="got float64"):
        Indexed(np.zeros((1, 2)), np.zeros(1, np.int32))  # type: ignore[arg-type]
    with pytest.raises(SchemaError, match="'emb': got 4 rows, expected 3"):
        TrainingSet(pa.table({"a": [1, 2, 3]}), example().vectors, {})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / MANIFEST).unlink(), "expected a folder written by"),
        (lambda folder: (folder / MANIFEST).write_text("{"), "expected a folder written by"),
        (lambda folder: write_json(folder / MANIFEST, {"format": 99}), "format 99"),
        (lambda folder: (folder / "vectors-0.npy").unlink(), r"vectors-0\.npy"),
        (lambda folder: (folder / "table.arrow").write_bytes(b"ARROW1"), r"table.*a damaged file"),
    ],
)
def test_damaged_folder(tmp_path: Path, damage: Any, message: str) -> None:
    damage(example().save(tmp_path / "set"))
    with pytest.raises(SchemaError, match=message):
        TrainingSet.open(tmp_path / "set")


@pytest.mark.parametrize("damage", [emptied, halved, flipped, *map(overwritten, range(4))])
def test_a_damaged_file_is_named_before_arrow_touches_it(tmp_path: Path, damage: Damage) -> None:
    for path in example().save(tmp_path / "set").iterdir():
        whole = path.read_bytes()
        path.write_bytes(damage(whole))
        with pytest.raises(SchemaError, match=rf"{path.name}.*feast-fusion training-set"):
            TrainingSet.open(tmp_path / "set")
        path.write_bytes(whole)
    assert rows(TrainingSet.open(tmp_path / "set")) == rows(example())


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository that `feast init` makes, on our store, applied by the real command."""
    folder = tmp_path_factory.mktemp("template")
    environment = os.environ | {"IS_TEST": "True"}
    subprocess.run([*FEAST, "init", "-t", "local", "taxi"], cwd=folder, env=environment, check=True)
    repo = folder / "taxi" / "feature_repo"
    with (repo / "feature_store.yaml").open("a") as config:
        config.write(f"\noffline_store: {{type: {OURS}}}\n")
    FeastRepo(repo).here("apply")
    return repo


def labels(repo: Path) -> pd.DataFrame:
    """Three candidates per driver and hour, in no order."""
    stats = pq.read_table(repo / "data" / "driver_stats.parquet").to_pandas()
    times = stats["event_timestamp"].drop_duplicates().sort_values().iloc[5:25:4]
    grid = [(d, t + timedelta(minutes=7)) for t in times for d in [1003, 1001, 1005] * 3]
    frame = pd.DataFrame(grid, columns=["driver_id", "event_timestamp"])
    frame = frame.sample(frac=1, random_state=0).reset_index(drop=True)
    return frame.assign(val_to_add=range(len(frame)), val_to_add_2=1)


def test_a_repository_that_is_not_ours(template: Path) -> None:
    store = FeatureStore(repo_path=str(template))
    stats = pq.read_table(template / "data" / "driver_stats.parquet").to_pylist()
    wanted = labels(template)
    job = store.get_historical_features(wanted, store.get_feature_service("driver_activity_v2"))
    found = job.to_arrow().to_pylist()
    assert len(found) == len(wanted)
    for number, (label, row) in enumerate(zip(wanted.to_dict("records"), found, strict=True)):
        at: datetime = label["event_timestamp"]
        seen = [
            s
            for s in stats
            if s["driver_id"] == label["driver_id"]
            and at - timedelta(days=1) <= s["event_timestamp"] <= at
        ]
        newest = max(seen, key=lambda s: s["event_timestamp"])
        assert row["driver_id"] == label["driver_id"]
        for name in ("conv_rate", "acc_rate", "avg_daily_trips", "driver_profile"):
            assert row[name] == newest[name], (number, name)
        assert row["conv_rate_plus_val1"] == pytest.approx(newest["conv_rate"] + number)
    indexed = job.to_training_set()
    assert indexed.to_arrow().select(list(found[0])).to_pylist() == found


def test_the_template_agrees_with_stock(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = FeatureStore(repo_path=str(template))
    stock = ours.config.model_copy(update={"offline_config": {"type": STOCK}})
    monkeypatch.chdir(template)  # stock looks for its sources there
    frames = []
    for store in (ours, FeatureStore(config=stock)):
        service = store.get_feature_service("driver_activity_v1")
        frame = store.get_historical_features(labels(template), service).to_df()
        frames.append(frame.sort_values("val_to_add").reset_index(drop=True))
    pd.testing.assert_frame_equal(
        frames[0], frames[1][frames[0].columns], check_dtype=False, check_datetimelike_compat=True
    )
