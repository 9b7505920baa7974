"""Features of entity rows as numpy columns: each distinct entity is read once, and scattered."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from feast.feature_view import DUMMY_ENTITY_VAL
from numpy.typing import NDArray

from feast_fusion.online.codec.value_decoding import Column
from feast_fusion.online.read_plan import KeyGroup, ReadPlan, check_entities
from feast_fusion.online.reader import ViewRows, distinct, scatter

Wanted = Sequence[tuple[KeyGroup, Sequence[Sequence[Any]]]]
EntityColumns = Mapping[str, Sequence[Any] | NDArray[Any] | pa.Array]


@dataclass(frozen=True)
class OnlineFeatures:
    """Features of n entity rows, in their order.

    Attributes
    ----------
    columns : by feature; (n,) scalars, (n, d) float32 vectors, `Ragged` lists. Null is NaN among
        floats and in vectors, NaT among times, 0 or False among other numbers, None among objects,
        and an empty list
    valid : (n,) bool by feature, False where the value is null or the row is not present
    present : (n,) bool by view, whether the entity has a row that has not expired
    expired : (n,) bool by view, whether its row is older than the view's ttl allows
    event_timestamps : (n,) datetime64[us] by view, UTC; NaT where the entity has no row
    """

    columns: dict[str, Column]
    valid: dict[str, NDArray[np.bool_]]
    present: dict[str, NDArray[np.bool_]]
    expired: dict[str, NDArray[np.bool_]]
    event_timestamps: dict[str, NDArray[np.datetime64]]

    def ages(self, view: str) -> NDArray[np.timedelta64]:
        """(n,) timedelta64[us] since the row's event, NaT where there is no row."""
        now = np.datetime64(datetime.now(UTC).replace(tzinfo=None), "us")
        return now - self.event_timestamps[view]


def gather_features(
    plan: ReadPlan, entities: EntityColumns, read_views: Callable[[Wanted], list[list[ViewRows]]]
) -> OnlineFeatures:
    """The features of a plan for entity rows; `read_views` reads distinct entities."""
    columns = {name: _values(column) for name, column in entities.items()}
    check_entities(plan, columns)
    # What has no entities is one row, which needs no key.
    n_rows = len(next(iter(columns.values()))) if columns else 1
    wanted = [distinct(_keys(group, columns, n_rows)) for group in plan.groups]
    rows = read_views([(group, keys) for group, (keys, _) in zip(plan.groups, wanted, strict=True)])
    answer = OnlineFeatures({}, {}, {}, {}, {})
    for views, (_, index) in zip(rows, wanted, strict=True):
        for view in views:
            _add(answer, view, index)
    return answer


def _values(column: Sequence[Any] | NDArray[Any] | pa.Array) -> list[Any]:
    if isinstance(column, np.ndarray):
        return list(column.tolist() if column.dtype.kind != "M" else column)
    if isinstance(column, pa.Array | pa.ChunkedArray):
        return list(column.to_pylist())
    return list(column)


def _keys(group: KeyGroup, columns: Mapping[str, list[Any]], n_rows: int) -> list[list[Any]]:
    """The group's key columns; a view without entities has one constant key."""
    return [
        columns[name] if name in columns else [DUMMY_ENTITY_VAL] * n_rows
        for name in group.requested
    ]


def _add(answer: OnlineFeatures, view: ViewRows, index: NDArray[np.int64] | None) -> None:
    name = view.plan.name
    answer.present[name] = _at(view.present, index)
    answer.expired[name] = _at(view.expired, index)
    answer.event_timestamps[name] = _at(view.event_timestamps, index)
    for feature, column in view.columns.items():
        answer.columns[feature] = scatter(column, index)
        answer.valid[feature] = _at(view.valid[feature], index)


def _at(column: NDArray[Any], index: NDArray[np.int64] | None) -> NDArray[Any]:
    return column if index is None else column[index]
