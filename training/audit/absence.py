"""Rows in which a view had nothing yet: more often for one label, or while training only.

A profile that is absent before its first version is harmless, unless the label can be told by it or
what is served has it. Of views whose rows are caused by events an absent row says that nothing has
happened yet, which is a fact about the past like any other.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from feast_fusion.column_names import split_view
from feast_fusion.training_set import TrainingSet
from training.audit.view_audit import ViewAudit
from transformations.names import CAUSED_BY_EVENTS

BY_LABEL, NOT_YET = "absence", "not yet known"
_LEAST_SHARE = 0.05
_ERRORS = 3.0  # standard errors that a share lies above the least share
_MIN_KEYS = 10

Numbers = NDArray[np.float64]


class Absence(NamedTuple):
    """What was found: `kind`, the view, in how many of the rows, and how."""

    kind: str
    view: str
    n_rows: int
    text: str


def find_absences(audit: ViewAudit, training_set: TrainingSet) -> Iterator[Absence]:
    """Whether the checked rows lack the view by label, or only because they are too old for it.

    Found is a share, or a difference of shares, that is above 5 % by three standard errors. Rows of
    one key are absent together, so that the errors are those of keys, of which there must be 10.
    """
    view = split_view(audit.view)[0]
    key, n_keys = audit.keys
    if view in CAUSED_BY_EVENTS or n_keys < _MIN_KEYS:
        return
    absent, early = audit.is_absent, audit.is_before_first
    if _is_above(early.astype(float), np.ones(len(early)), key):
        text = f"{early.mean():.1%} of the rows are older than the first row of their key, which "
        yield Absence(NOT_YET, view, int(early.sum()), text + "a request would have")
    if "label" not in training_set.table.column_names:
        return
    labels = pc.greater(training_set.table["label"].take(pa.array(audit.rows)), 0)
    positive = np.asarray(labels.fill_null(False))
    if positive.all() or not positive.any():
        return
    liked, other = (float(absent[of].mean()) for of in (positive, ~positive))
    sign = 1.0 if liked > other else -1.0
    if _is_above(np.where(positive, sign, -sign) * absent, np.where(positive, 1, 2), key):
        text = f"absent in {liked:.1%} of the rows with label 1 and {other:.1%} of the others: "
        text += f"absence alone has AUC {(1 + abs(liked - other)) / 2:.3f} against the label"
        yield Absence(BY_LABEL, view, int(absent.sum()), text)


def _is_above(values: Numbers, groups: NDArray[np.generic], key: NDArray[np.int64]) -> bool:
    """Whether the sum of the means of the groups is clearly above the least share.

    Its variance is that of keys: residuals of one key are summed before they are squared.
    """
    total, influence = 0.0, np.zeros(len(values))
    for group in np.unique(groups):
        of = groups == group
        mean = values[of].mean()
        total += mean
        influence[of] = (values[of] - mean) / of.sum()
    error = float(np.sqrt((np.bincount(key, influence) ** 2).sum()))
    return bool(total - _ERRORS * error > _LEAST_SHARE)
