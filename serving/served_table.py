"""What was served of a slate, as the log of served features keeps it."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from feast_fusion.times import TIMESTAMP
from feast_fusion.training_set import TrainingSet
from serving.slate import Slate
from transformations.served_files import MODEL, stamp_column

_NO_ROW = np.datetime64("NaT")


def served_table(slate: Slate, at: NDArray[np.int64], model: str | None) -> pa.Table:
    """The features of the items in the places `at` of a slate, decoded as they were read.

    Parameters
    ----------
    model : the version that answered
    """
    replies = [slate.replies[place] for place in at.tolist()]
    stamps = {
        view.plan.name: np.where(view.present, view.event_timestamps, _NO_ROW)
        for view in slate.features.decode_items(replies, slate.now)
    }
    for view in slate.user.views:
        stamp = view.event_timestamps[0] if view.present[0] else _NO_ROW
        stamps[view.plan.name] = np.full(len(at), stamp)
    table = stamped_table(slate.rows(at), stamps)
    return table.append_column(MODEL, pa.repeat(pa.scalar(model, pa.string()), len(table)))


def stamped_table(rows: TrainingSet, stamps: Mapping[str, NDArray[np.datetime64]]) -> pa.Table:
    """n rows with the (n,) event timestamps of each view's rows; NaT where there was no row."""
    table = rows.to_arrow()
    for view, times in stamps.items():
        micros = pa.array(times.astype("datetime64[us]"))
        table = table.append_column(stamp_column(view), micros.cast(TIMESTAMP))
    return table
