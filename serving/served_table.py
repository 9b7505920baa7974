"""What was served of a slate, as the log of served features keeps it."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from feast_fusion.times import TIMESTAMP
from feast_fusion.training_set import TrainingSet
from serving.request import Request
from serving.served_log import ServedLog
from serving.slate import Slate
from serving.variety.exploration import Tried
from transformations.served_files import MODEL, PLACE, PROPENSITY, stamp_column

_LOGGED = 10  # items of an answer whose features are logged
_NO_ROW = np.datetime64("NaT")


def offer_served(log: ServedLog, request: Request, slate: Slate, tried: Tried) -> None:
    """Offers the first items of an answer to the log, which reads them later."""
    n = min(_LOGGED, len(tried.best))
    propensity = np.ones(n) if tried.propensity is None else tried.propensity[:n]
    read = partial(served_table, slate, tried.best[:n], request.model, propensity)
    log.offer(request.name, read)


def served_table(
    slate: Slate, at: NDArray[np.int64], model: str | None, propensity: NDArray[np.float64]
) -> pa.Table:
    """The features of the items in the places `at` of a slate, decoded as they were read.

    Parameters
    ----------
    model : the version that answered
    propensity : of each, see `Tried`
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
    table = table.append_column(MODEL, pa.repeat(pa.scalar(model, pa.string()), len(table)))
    table = table.append_column(PLACE, pa.array(np.arange(1, len(at) + 1)))
    return table.append_column(PROPENSITY, pa.array(propensity))


def stamped_table(rows: TrainingSet, stamps: Mapping[str, NDArray[np.datetime64]]) -> pa.Table:
    """n rows with the (n,) event timestamps of each view's rows; NaT where there was no row."""
    table = rows.to_arrow()
    for view, times in stamps.items():
        micros = pa.array(times.astype("datetime64[us]"))
        table = table.append_column(stamp_column(view), micros.cast(TIMESTAMP))
    return table
