"""The lists of a user's recent events as padded arrays, once per distinct list."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from feast_fusion.column_names import feature_column
from feast_fusion.training_set import TrainingSet
from intake.outliers import FARTHEST, without_outliers
from training.ranker.columns import Floats, Ints, list_values
from training.ranker.item_texts import code_items
from transformations.id_map import IdMap
from transformations.names import USER_RECENT

_T = TypeVar("_T", bound=np.generic)

ITEM_IDS, POSITIVES, VALUES, AGES = (
    feature_column(USER_RECENT, name) for name in ("item_ids", "positives", "values", "ages_s")
)
# Means over the newest k events: of few for the session, of many for the user's taste.
WINDOWS = (1, 3, 5, 10, 20, 50)
_SUMMARY = [
    feature_column("recent", f"{what}_{k}") for what in ("positives", "values") for k in WINDOWS
]
# Events that the mean is worth in a window's mean.
WINDOW_PRIOR = 2.0


@dataclass(frozen=True)
class RecentLists:
    """m distinct lists of at most h events, newest first, and last an empty list for the index -1.

    Attributes
    ----------
    items : (m + 1, h) int32, rows in the known texts, 0 where unknown or past the end
    positives : (m + 1, h) float32, 0 or 1
    values : (m + 1, h) float32, NaN where the event has no value
    ages : (m + 1, h) float32, log of 1 + hours before the newest event of the list
    mask : (m + 1, h) bool, True where there is an event
    index : (n,) int64, a row's list; -1 is absent
    """

    items: NDArray[np.int32]
    positives: Floats
    values: Floats
    ages: Floats
    mask: NDArray[np.bool_]
    index: Ints

    @classmethod
    def of(cls, rows: TrainingSet, items: IdMap, history: int) -> "RecentLists":
        """The newest `history` events of each list; rows without the view have the empty list."""
        if ITEM_IDS not in rows.lists:
            nothing = np.zeros((1, 1), dtype=np.float32)
            absent = np.full(len(rows), -1, dtype=np.int64)
            return cls(nothing.astype(np.int32), nothing, nothing, nothing, nothing > 0, absent)
        lists = list_values(rows, ITEM_IDS)
        given = lists.value_lengths().to_numpy()
        lengths = np.minimum(given, history)
        mask = np.arange(max(1, lengths.max(initial=0))) < np.append(lengths, 0)[:, None]
        pad = _Padding(given, mask)
        return cls(
            items=pad.fill(code_items(items, lists.flatten()), 0),
            positives=pad.fill(_flat(rows, POSITIVES), 0),
            values=pad.fill(_flat(rows, VALUES), np.nan),
            ages=pad.fill(np.log1p(_flat(rows, AGES) / 3600), 0),
            mask=mask,
            index=rows.lists[ITEM_IDS].index.astype(np.int64),
        )

    def alone(self, row: int) -> "RecentLists":
        """The list of one row, without room for longer ones; none where it is absent."""
        at = int(self.index[row])
        lists = [at, -1] if at >= 0 else [-1]
        end = max(1, int(self.mask[at].sum()))
        return RecentLists(
            self.items[lists, :end],
            self.positives[lists, :end],
            self.values[lists, :end],
            self.ages[lists, :end],
            self.mask[lists, :end],
            np.array([min(at, 0)]),
        )

    @property
    def value_spread(self) -> float:
        """Standard deviation of the values without outliers, 1 where there is none."""
        values = without_outliers(self.values[self._valued])
        deviation = float(values.std()) if len(values) else 0.0
        return deviation if deviation > 0 else 1.0

    @property
    def _valued(self) -> NDArray[np.bool_]:
        """(m + 1, h) whether there is an event with a value."""
        return self.mask & np.isfinite(self.values)

    def summary(self, prior: float) -> dict[str, NDArray[np.float64]]:
        """(n,) per name: mean of positives and of values of the newest k; NaN where absent."""
        positives = _window_means(self.positives, self.mask, prior)
        values = _window_means(self.values, self._valued, None)
        columns = zip((*positives.T, *values.T), _SUMMARY, strict=True)
        return {name: column[self.index] for column, name in columns}

    def centred_values(self, spread: float) -> Floats:
        """(m + 1, h) values minus the list's mean, in units of `spread`; 0 where absent.

        At most `FARTHEST`: an outlier would drown what else is read of the events.
        """
        known = self._valued
        values = np.where(known, self.values, 0.0)
        mean = values.sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        centred = np.where(known, values - mean[:, None], 0.0) / spread
        return np.clip(centred, -FARTHEST, FARTHEST).astype(np.float32)


class _Padding:
    """Lays the flat values of lists into the True places of a mask, a row for each list.

    Lists of lengths 3 and 1 in a mask of two columns: of the flat values a b c d, the first row
    has a b, the second d. The mask's last row has no list.
    """

    def __init__(self, lengths: Ints, mask: NDArray[np.bool_]) -> None:
        self._mask = mask
        starts = np.cumsum(lengths) - lengths
        at = np.append(starts, 0)[:, None] + np.arange(mask.shape[1])
        self._at = at[mask]

    def fill(self, flat: NDArray[_T], absent: float) -> NDArray[_T]:
        filled = np.full(self._mask.shape, absent, dtype=flat.dtype)
        filled[self._mask] = flat[self._at]
        return filled


def _flat(rows: TrainingSet, name: str) -> Floats:
    flat = list_values(rows, name).flatten()
    values: Floats = flat.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)
    return values


def _window_means(
    values: Floats, known: NDArray[np.bool_], prior: float | None
) -> NDArray[np.float64]:
    """(m + 1, windows) mean of the known values among the newest k; NaN where the list has none.

    The prior counts as `WINDOW_PRIOR` more events; None is the mean of the list itself.
    """
    last = np.minimum(WINDOWS, known.shape[1]) - 1
    n = known.cumsum(axis=1)
    total = np.where(known, values, 0.0).cumsum(axis=1, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        pulled_to = total[:, -1:] / n[:, -1:] if prior is None else prior
        mean = (total[:, last] + WINDOW_PRIOR * pulled_to) / (n[:, last] + WINDOW_PRIOR)
    mean[n[:, -1] == 0] = np.nan
    return mean
