"""One feature view of a training set against the slow path, each difference traced to its leak."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from feast_fusion.column_names import split_view
from feast_fusion.times import TIMESTAMP, from_micros
from feast_fusion.training_set import TrainingSet
from training.audit.source_history import (
    Key,
    Rule,
    SourceHistory,
    SourceRow,
    fingerprints,
    vector_fingerprint,
)
from transformations.schema import CAUSED_AFTER_US


@dataclass(frozen=True)
class _Label:
    """A row of the training set for one view: its number, key, time in us, and the key's rows."""

    row: int
    key: Key
    t: int | None
    rows: Sequence[SourceRow]


@dataclass(frozen=True)
class Difference:
    """A value that is not as it should be: what kind of leak, in which row, and how."""

    kind: str
    row: int
    text: str


class ViewAudit:
    """The features of one view in the rows to check, against the slow path.

    A label may see a source row stamped exactly at its time. Yet a row that changed the value is
    reported as of the label's own instant: a row caused by an event is stamped just after the
    event. The first row of a key changes nothing; a profile may well begin with the first event.
    """

    def __init__(
        self,
        training_set: TrainingSet,
        history: SourceHistory,
        rows: NDArray[np.int64],
        strictly_before: bool,
    ) -> None:
        self._training_set = training_set
        self._history = history
        self.rows = rows
        self._rule = Rule(history.ttl_us, strictly_before)
        self._labels = list(self._read_labels())
        self._expected = [self._rule.newest(label.rows, label.t) for label in self._labels]
        self._before = [
            replace(self._rule, strictly_before=True, ttl_us=0).newest(label.rows, label.t)
            if expected is not None and expected.ts == label.t
            else None
            for label, expected in zip(self._labels, self._expected, strict=True)
        ]

    @property
    def view(self) -> str:
        """The view's name in the training set."""
        return str(self._history.projection.name_to_use())

    @property
    def keys(self) -> tuple[NDArray[np.int64], int]:
        """(n,) the number of the key of each row, and how many keys there are."""
        numbers: dict[Key, int] = {}
        found = [numbers.setdefault(label.key, len(numbers)) for label in self._labels]
        return np.array(found, dtype=np.int64), len(numbers)

    @property
    def is_absent(self) -> NDArray[np.bool_]:
        """(n,) whether the label sees no row of the view."""
        return np.array([row is None for row in self._expected], dtype=bool)

    @property
    def is_before_first(self) -> NDArray[np.bool_]:
        """(n,) whether the view has rows of the label's key, and all are later."""
        return np.array(
            [
                label.t is not None and len(label.rows) > 0 and min(label.rows).ts > label.t
                for label in self._labels
            ],
            dtype=bool,
        )

    def _read_labels(self) -> Iterator[_Label]:
        table = self._training_set.table.take(pa.array(self.rows))
        columns = [table.column(name).to_pylist() for name in self._history.keys]
        keys: list[Key] = list(zip(*columns, strict=True)) if columns else [()] * len(table)
        times = table.column("event_timestamp").cast(TIMESTAMP).cast(pa.int64())
        known = self._history.rows_by_key({key for key in keys if None not in key})
        for row, key, t in zip(self.rows.tolist(), keys, times.to_pylist(), strict=True):
            yield _Label(row, key, t, known.get(key, ()))

    def differences(self, feature: str, name: str) -> Iterator[Difference]:
        """Chosen rows in which the feature is not what its label could know."""
        found, kind = _found(self._training_set, name, self.rows)
        needed = [r.position for r in [*self._expected, *self._before] if r is not None]
        values = self._history.values(feature, needed, kind)
        differing = []
        for i, label in enumerate(self._labels):
            expected, before = self._expected[i], self._before[i]
            if found[i] != (None if expected is None else values[expected.position]):
                differing.append(i)
            elif before is not None and found[i] != values[before.position]:
                text = f"{_shown(found[i])} is of the label's own instant; before it was "
                yield Difference("own instant", label.row, text + _shown(values[before.position]))
        if differing:
            yield from self._traced(feature, kind, differing, found, values)

    def _traced(
        self,
        feature: str,
        kind: pa.DataType | None,
        differing: list[int],
        found: list[Hashable],
        known: dict[int, Hashable],
    ) -> Iterator[Difference]:
        candidates = {row.position for i in differing for row in self._labels[i].rows}
        values = known | self._history.values(feature, candidates, kind)
        of_encoder: set[Hashable] | None = None
        if kind is None and split_view(self._history.view.name)[1]:
            of_encoder = self._history.all_values(feature, kind)
        for i in differing:
            label, expected = self._labels[i], self._expected[i]
            holders = [row for row in label.rows if values[row.position] == found[i]]
            leak, holder = self._kind(label, found[i], holders)
            text = f"{_shown(found[i])} of {_at(holder.ts)}" if holder else _shown(found[i])
            if of_encoder is not None and found[i] is not None and found[i] not in of_encoder:
                leak, text = "encoder", "a vector that this encoder's view never held"
            text += f", expected {_shown(values[expected.position] if expected else None)}"
            text += f" of {_at(expected.ts)}" if expected else ""
            yield Difference(leak, label.row, text)

    def _kind(
        self, label: _Label, found: Hashable, holders: list[SourceRow]
    ) -> tuple[str, SourceRow | None]:
        """Which rule was broken to get at one of `holders`, and which row it was.

        Many rows may hold the value. Named is, in this order, the row that dropping one rule would
        have given, a row of the label's own instant, any other row.
        """
        t = label.t
        if found is None or t is None or not holders:
            return "mismatch", None  # an absent value, or a value from nowhere, names no row
        for kind, relaxed in (
            ("created late", replace(self._rule, created_by_then=False)),
            ("expired", replace(self._rule, ttl_us=0)),
        ):
            row = relaxed.newest(label.rows, t)
            if row in holders and row is not None and not self._rule.sees(row, t):
                return ("own instant" if row.ts == t else kind), row
        broken: dict[str, list[SourceRow]] = {
            "own instant": [row for row in holders if t <= row.ts <= t + CAUSED_AFTER_US],
            "future": [row for row in holders if row.ts > t],
            "created late": [row for row in holders if row.ts <= t < row.created],
            "expired": [row for row in holders if not self._rule.sees(row, t)],
            "mismatch": holders,
        }
        return next((kind, min(rows)) for kind, rows in broken.items() if rows)


def _found(
    training_set: TrainingSet, name: str, rows: NDArray[np.int64]
) -> tuple[list[Hashable], pa.DataType | None]:
    """The chosen rows' values as fingerprints, and their type, None for a vector."""
    if name in training_set.table.column_names:
        column = training_set.table.column(name)
        return fingerprints(column.take(pa.array(rows)), column.type), column.type
    indexed = training_set.vectors.get(name) or training_set.lists[name]
    index = indexed.index[rows]
    places = np.unique(index[index >= 0])
    if isinstance(indexed.values, np.ndarray):
        kind = None
        distinct: list[Hashable] = [vector_fingerprint(indexed.values[i]) for i in places]
    else:
        kind = indexed.values.type
        distinct = fingerprints(indexed.values.take(pa.array(places)), kind)
    of_place = dict(zip(places.tolist(), distinct, strict=True))
    return [of_place.get(i) for i in index.tolist()], kind


def _shown(value: Hashable) -> str:
    if value is None:
        return "null"
    text = "a vector" if isinstance(value, bytes) else str(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _at(microseconds: int) -> str:
    return f"{from_micros(microseconds):%Y-%m-%d %H:%M:%S.%f}"
