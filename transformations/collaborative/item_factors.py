"""Versions of item factors: how an item is answered on average, and whom it suits.

Of each kind of answer, the value of an event and whether it was positive, a version explains what
the log has as

    answer = mean of the item + bias of the user + factors of the user . factors of the item

by alternating least squares with a ridge on the factors (Koren, Bell and Volinsky 2009, equations 4
and 5). Only the items are kept. A user is the same least squares on the own recent events
(`tastes`), so that an event counts at once and a new user needs no new version.

A version is fitted from the events up to an instant and stamped one microsecond after it, as are
the rows of `item_neighbours`. Two versions never meet: their factors have nothing in common.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from numpy.typing import NDArray

from feast_fusion.times import TIMESTAMP, from_micros
from intake.outliers import fences
from transformations import names
from transformations.activity import ActivityTable
from transformations.collaborative.histories import Events, Ints
from transformations.collaborative.versions import Spread, stamp_of, version_ends
from transformations.id_map import IdMap
from transformations.schema import ITEM_FACTORS

Numbers = NDArray[np.float64]

KINDS = ("value", "positive")
N_FACTORS = 8
# Events that the mean of all is worth in the mean of an item, and zero in the bias of a user.
PRIOR_EVENTS = 5.0
# Penalty on factors, where the answers have a deviation of one.
_RIDGE = 8.0
_PASSES = 8


@dataclass(frozen=True)
class FactorVersion:
    """What was fitted at one instant on i items, in the units of the answers.

    Attributes
    ----------
    stamp : microseconds since the epoch
    means : (K, i) float32, drawn to the mean of all where there are few events; NaN where an item
        has no answer of the kind
    factors : (K, i, r) float32, zeros where an item has no answer; of a scale such that the ridge
        that folds a user in is one
    """

    stamp: int
    means: NDArray[np.float32]
    factors: NDArray[np.float32]

    @classmethod
    def empty(cls, n_items: int) -> "FactorVersion":
        """The version before the first: it says nothing."""
        means = np.full((len(KINDS), n_items), np.nan, np.float32)
        return cls(0, means, np.zeros((len(KINDS), n_items, N_FACTORS), np.float32))

    @classmethod
    def of(cls, rows: pa.Table, items: IdMap) -> "FactorVersion":
        """The version of the rows of one stamp; items that `items` lacks are left out."""
        found = cls.empty(len(items))
        if not len(rows):
            return found
        rows = rows.combine_chunks()
        code = items.codes(rows["item_id"])
        known = code >= 0
        for kind, name in enumerate(KINDS):
            means = rows[f"{name}_mean"].combine_chunks().to_numpy(zero_copy_only=False)
            flat = rows[f"{name}_factors"].combine_chunks().flatten().to_numpy()
            found.means[kind, code[known]] = means[known]
            found.factors[kind, code[known]] = flat.reshape(len(rows), -1)[known]
        stamp = int(rows["event_timestamp"].cast(pa.int64())[0].as_py())
        return cls(stamp, found.means, found.factors)

    def rows(self, items: IdMap, known: Ints) -> pa.Table:
        """One row per known item (codes), of the schema `ITEM_FACTORS`."""
        columns = {
            "item_id": items.take(known),
            "event_timestamp": pa.repeat(pa.scalar(from_micros(self.stamp), TIMESTAMP), len(known)),
        }
        offsets = pa.array(np.arange(len(known) + 1, dtype=np.int32) * N_FACTORS)
        for kind, name in enumerate(KINDS):
            means, factors = self.means[kind, known], self.factors[kind, known]
            columns[f"{name}_mean"] = pa.array(means, from_pandas=True)  # NaN becomes null
            columns[f"{name}_factors"] = pa.ListArray.from_arrays(offsets, factors.ravel())
        return pa.table(columns).select(ITEM_FACTORS.names).cast(ITEM_FACTORS)


def build_item_factors(events: Events, every: int, spread: Spread = map) -> ActivityTable:
    """All versions of a log, oldest first, as the source of `item_factors`.

    Parameters
    ----------
    every : least number of events between two versions, see `version_ends`
    spread : who fits them
    """
    ends = version_ends(events.time, every)
    n_rows = sum(int((events.known_from <= stamp_of(events, end)).sum()) for end in ends)
    rows = spread(partial(_rows, events), ends)
    return ActivityTable(names.ITEM_FACTORS, ITEM_FACTORS, n_rows, rows)


def _rows(events: Events, end: int) -> pa.Table:
    version = fit_item_factors(events, end)
    return version.rows(events.items, np.flatnonzero(events.known_from <= version.stamp))


def fit_item_factors(events: Events, n_rows: int) -> FactorVersion:
    """The version of the first `n_rows` events."""
    version = FactorVersion.empty(len(events.items))
    answers = (events.value[:n_rows], events.positive[:n_rows])
    for kind, answer in enumerate(answers):
        rows = np.flatnonzero(np.isfinite(answer))
        if len(rows):
            users, items = events.user[rows], events.item[rows]
            given = answer[rows].astype(np.float64)
            shape = (len(events.users), len(events.items))
            weights = events.weight[rows].astype(np.float64)
            version.means[kind], version.factors[kind] = _fit(users, items, given, weights, shape)
    return FactorVersion(stamp_of(events, n_rows), version.means, version.factors)


def solve_ridge(counts: sp.csr_matrix, sums: sp.csr_matrix, factors: Numbers) -> Numbers:
    """(q, r) least squares with a ridge of one: what times `factors` (i, r) gives the answers.

    Parameters
    ----------
    counts, sums : (q, i) how many answers there are, and their sum; a row is a problem of its own
    """
    width = factors.shape[1]
    row, column = np.triu_indices(width)  # the products are symmetric: half of them are enough
    half = counts @ (factors[:, row] * factors[:, column])
    gram = np.empty((len(half), width, width))
    gram[:, row, column] = gram[:, column, row] = half
    gram += np.eye(width)
    found: Numbers = np.linalg.solve(gram, (sums @ factors)[:, :, None])[:, :, 0]
    return found


def _fit(
    users: Ints, items: Ints, answers: Numbers, weights: Numbers, shape: tuple[int, int]
) -> tuple[Numbers, Numbers]:
    """(i,) means and (i, r) factors of the answers that there are, outliers cut at the fences."""
    answers = np.clip(answers, *fences(answers))
    overall, spread = answers.mean(), answers.std()
    bias = np.zeros(shape[0])
    for _ in range(2):  # the bias of an item without that of its users, and the other way round
        mean = _shrunk(answers - overall - bias[users], weights, items, shape[1])
        bias = _shrunk(answers - overall - mean[items], weights, users, shape[0])
    touched = np.bincount(items, minlength=shape[1]) > 0
    means = np.where(touched, overall + mean, np.nan)
    if not spread:  # all answers are the same, as of purchases: items suit all users alike
        return means, np.zeros((shape[1], N_FACTORS))
    residual = (answers - overall - mean[items] - bias[users]) / spread
    counts = sp.csr_matrix((weights, (users, items)), shape=shape)
    sums = sp.csr_matrix((weights * residual, (users, items)), shape=shape)
    return means, _alternate(counts, sums) * touched[:, None]


def _alternate(counts: sp.csr_matrix, sums: sp.csr_matrix) -> Numbers:
    """(i, r) factors of items; those of users are forgotten."""
    turned = counts.T.tocsr(), sums.T.tocsr()
    # `solve_ridge` has a ridge of one; over _RIDGE, the other side's solution makes it _RIDGE.
    factors = np.random.default_rng(0).normal(0.0, 0.3, (counts.shape[1], N_FACTORS))
    for _ in range(_PASSES):
        users = solve_ridge(counts, sums, factors / _RIDGE)
        factors = solve_ridge(*turned, users / _RIDGE)
    return factors / _RIDGE


def _shrunk(values: Numbers, weights: Numbers, at: Ints, n: int) -> Numbers:
    """(n,) weighted mean of the values in each place, as if PRIOR_EVENTS more had been zero."""
    found: Numbers = np.bincount(at, weights * values, minlength=n) / (
        np.bincount(at, weights, minlength=n) + PRIOR_EVENTS
    )
    return found
