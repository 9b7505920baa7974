"""`[interactions.context]`: what is around an event and a request, such as device and hour."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

import polars as pl
import pyarrow as pa
from pydantic import AfterValidator, model_validator

from feast_fusion.column_names import feature_column, split_column
from feast_fusion.errors import SchemaError, schema_error
from feast_fusion.times import TIMESTAMP
from intake.given_values import kind_of
from intake.model_settings import Section
from intake.tables.section import known_zone

CONTEXT = "context"
_MAX_CHARACTERS = 512
_RESERVED = {"user_id", "item_id", "event_timestamp", "event_id", "event_type", "value", "positive"}

Clock = Literal["hour", "weekday"]
Value = str | float


class ContextColumns(Section):
    """`[interactions.context]`: columns of the events that a request has too.

    Attributes
    ----------
    numeric, categorical : columns of the log, and keys of `context` of an event and of a request;
        what is not given is null
    clock : "hour" (0 to 23) and "weekday" (1 is Monday) of an event and of a request, by its time
    zone : of `clock`
    """

    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    clock: tuple[Clock, ...] = ()
    zone: Annotated[str, AfterValidator(known_zone)] = "UTC"

    @model_validator(mode="after")
    def _is_unambiguous(self) -> Self:
        named = [*self.numeric, *self.categorical, *self.clock]
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(map(repr, twice))} is named twice")
        if reserved := sorted(_RESERVED & {*named}):
            raise ValueError(f"{', '.join(map(repr, reserved))} is read already")
        return self

    @property
    def given(self) -> tuple[str, ...]:
        """What a log and a request give: all but the clock."""
        return (*self.numeric, *self.categorical)

    def check(self, given: Mapping[str, Any]) -> dict[str, Value]:
        """What is known of a `context`, numbers as float; null is left out.

        Raises
        ------
        SchemaError
            It has a key that is not `given`, or a value of another kind.
        """
        return {
            name: self._check(str(name), value)
            for name, value in given.items()
            if value is not None or str(name) not in self.given
        }

    def _check(self, name: str, value: object) -> Value:
        if name not in self.given:
            raise _refused(
                name[:_MAX_CHARACTERS], "an unknown key", ", ".join(self.given) or "none"
            )
        if name in self.numeric:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number:
                raise _refused(name, kind_of(value), "a finite number")
            if not _is_finite(value):  # type: ignore[arg-type]
                raise _refused(name, "a number that is not finite", "a finite number")
            return float(value)  # type: ignore[arg-type]
        if isinstance(value, bool):
            value = str(value).lower()
        elif isinstance(value, int) and abs(value) < 10**18:
            value = str(value)
        if not isinstance(value, str) or not 0 < len(value) <= _MAX_CHARACTERS:
            raise _refused(name, kind_of(value), f"text of 1 to {_MAX_CHARACTERS} characters")
        return value

    def columns(self, rows: Sequence[Mapping[str, Value]]) -> dict[str, pa.Array]:
        """By name the values of n contexts, null where one has none."""
        return {
            name: pa.array([row.get(name) for row in rows], self.kind(name)) for name in self.given
        }

    def kind(self, name: str) -> pa.DataType:
        """The type of a column that is `given`."""
        return pa.float64() if name in self.numeric else pa.string()

    def clock_columns(self, times: pa.ChunkedArray) -> dict[str, pa.Array]:
        """By name the (n,) hours and weekdays of instants, as texts."""
        if not self.clock:
            return {}
        local = pl.Series(times.cast(TIMESTAMP)).dt.convert_time_zone(ZoneInfo(self.zone).key)
        found = {"hour": local.dt.hour, "weekday": local.dt.weekday}
        return {
            name: pa.array(found[name]().cast(pl.String).to_list(), pa.string())
            for name in self.clock
        }


NO_CONTEXT = ContextColumns()


def context_column(name: str) -> str:
    """The column of a training set.

    >>> context_column("device")
    'context__device'
    """
    return feature_column(CONTEXT, name)


def is_context(column: str) -> bool:
    """Whether a column is a `context_column`."""
    return split_column(column)[0] == CONTEXT


def encode_context(known: Mapping[str, Value]) -> str | None:
    """As an event has it: JSON, equal for equal contexts; None without anything."""
    if not known:
        return None
    return json.dumps(known, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def decode_context(text: str | None) -> dict[str, Value]:
    """What `encode_context` was given."""
    found: dict[str, Value] = json.loads(text) if text else {}
    return found


def _is_finite(value: int | float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _refused(name: str, got: str, expected: str) -> SchemaError:
    return schema_error(
        f"context {name!r}",
        got=got,
        expected=expected,
        remedy="[interactions.context] of dataset.toml says what a context has.",
    )
