"""A training set in pandas and in PyTorch."""

import pickle
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

from feast_fusion.training_set import Indexed, TrainingSet

INDEX = np.array([1, -1, 0, 1], np.int32)
BIG = 2**53 + 1  # the first whole number that a float64 cannot hold
TIMES = [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 3, 4)]
SET = TrainingSet(
    pa.table(
        {
            "user_id": ["a", "b", None, "d"],
            "event_timestamp": pa.array(TIMES, pa.timestamp("us", "UTC")),
            "label": [1, 0, 1, 0],
            "count": pa.array([BIG, None, 3, 4]),
            "price": [0.5, None, 1.5, 2.5],
            "active": [True, False, None, True],
        }
    ),
    {"emb": Indexed(np.array([[1, 2, 3], [4, 5, 6]], np.float32), INDEX)},
    {"tags": Indexed(pa.array([["x"], ["y", None]]), INDEX)},
)


def test_pandas_has_every_value_and_shares_the_lists() -> None:
    frame = SET.to_pandas()
    assert list(frame.columns) == SET.names and len(frame) == 4
    assert frame["count"].tolist() == [BIG, pd.NA, 3, 4] and frame["count"][0] == BIG
    assert frame["event_timestamp"].tolist() == TIMES
    assert [None if cell is None else cell.tolist() for cell in frame["emb"]] == [
        [4, 5, 6],
        None,
        [1, 2, 3],
        [4, 5, 6],
    ]
    assert frame["tags"][0].tolist() == ["y", None] and frame["tags"][1] is None
    assert np.shares_memory(frame["emb"][0], frame["emb"][3])


def test_pandas_of_no_rows_has_every_column() -> None:
    nothing = SET.take(np.array([], np.int64)).to_pandas()
    assert list(nothing.columns) == SET.names and not len(nothing)


def test_rows_are_tensors_and_batches_are_rows() -> None:
    rows = SET.torch_dataset()
    assert len(rows) == 4
    batch = rows[[3, 1, -2]]
    assert batch["user_id"] == ["d", "b", ""] and batch["label"].tolist() == [0, 0, 1]
    assert batch["label"].dtype == torch.int64 and batch["price"].dtype == torch.float32
    torch.testing.assert_close(batch["price"], torch.tensor([2.5, torch.nan, 1.5]), equal_nan=True)
    torch.testing.assert_close(batch["active"], torch.tensor([1.0, 0.0, torch.nan]), equal_nan=True)
    assert batch["event_timestamp"][0] == TIMES[3].timestamp() * 1e6
    assert batch["emb"].shape == (3, 3) and batch["emb"][1].isnan().all()
    assert batch["emb"][2].tolist() == [1, 2, 3] and "tags" not in batch
    for at, row in enumerate((3, 1, 2)):
        for name, value in rows[row].items():
            expected = batch[name][at]
            if isinstance(value, str):
                assert value == expected
            else:
                torch.testing.assert_close(value, expected, equal_nan=True)
    again = pickle.loads(pickle.dumps(rows))  # as a worker that is spawned gets it
    torch.testing.assert_close(again[0]["emb"], rows[0]["emb"])
    with pytest.raises(IndexError, match="row 4: got a set of 4 rows"):
        rows[4]


def by_rows(rows: Any, workers: int) -> DataLoader[Any]:
    return DataLoader(rows, batch_size=3, num_workers=workers)


def by_batches(rows: Any, workers: int) -> DataLoader[Any]:
    sampler = BatchSampler(SequentialSampler(rows), 3, drop_last=False)
    return DataLoader(rows, sampler=sampler, batch_size=None, num_workers=workers)


@pytest.mark.parametrize("loader", [by_rows, by_batches])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_with_workers_reads_every_row_once(loader: Any, workers: int) -> None:
    batches = list(loader(SET.torch_dataset(), workers))
    assert [len(batch["label"]) for batch in batches] == [3, 1]
    assert [user for batch in batches for user in batch["user_id"]] == ["a", "b", "", "d"]
    together = torch.cat([batch["emb"] for batch in batches])
    torch.testing.assert_close(together, SET.torch_dataset()[[0, 1, 2, 3]]["emb"], equal_nan=True)


def test_a_saved_set_is_read_from_its_files(tmp_path: Any) -> None:
    opened = TrainingSet.open(SET.save(tmp_path / "set"))
    pd.testing.assert_frame_equal(opened.to_pandas(), SET.to_pandas())
    (batch,) = DataLoader(opened.torch_dataset(), batch_size=4, num_workers=2)
    assert batch["label"].tolist() == [1, 0, 1, 0]
