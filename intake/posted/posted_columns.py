"""The columns of a table that a posted row may have, and what each of its values becomes."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import pyarrow as pa

from feast_fusion.times import from_micros
from intake.event_bounds import EARLIEST_US, LATEST_US
from intake.given_values import GivenError, kind_of, read_number, read_text, read_time
from intake.outliers import LARGEST

TIMES = ("event_timestamp", "created")
_MAX_CHARACTERS = 65_536
_MAX_TEXTS = 1_000
_INT64 = 2**63


@dataclass(frozen=True)
class PostedColumns:
    """The columns of a prepared table, but its key and times.

    Attributes
    ----------
    types : by column
    required : columns that a whole row must name, also where it knows nothing of them
    renamed : by a name that a file of the data set has the name here
    """

    types: Mapping[str, pa.DataType]
    required: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        schema: pa.Schema,
        key: str,
        required: tuple[str, ...] = (),
        renamed: Mapping[str, str] | None = None,
    ) -> "PostedColumns":
        """Of a prepared table."""
        own = [each for each in schema if each.name not in (key, *TIMES)]
        return cls({each.name: each.type for each in own}, required, renamed or {})

    def require_known(self, given: Iterable[str]) -> None:
        """Raises GivenError where a column is not one of the table's."""
        for name in given:
            if name not in self.types:
                own = self.renamed.get(name)
                known = ", ".join(self.types)
                said = f"its name here is {own}" if own else f"expected one of {known}"
                raise GivenError(f"unknown column, {said}", name[:64])

    def read(self, given: Mapping[str, Any], *, is_whole: bool) -> dict[str, Any]:
        """The values as the table has them; null is None.

        Parameters
        ----------
        is_whole : whether it is a row, with null where a column is not named, or a change of one

        Raises
        ------
        GivenError
            A column is unknown or missing, or a value is not of its column's type.
        """
        self.require_known(given)
        missing = [name for name in self.required if name not in given]
        if missing and is_whole:
            raise GivenError(f"missing {missing[0]}", missing[0])
        names = self.types if is_whole else given
        return {name: self._value(name, given.get(name)) for name in names}

    def _value(self, name: str, value: object) -> Any:
        return None if value is None else _reader(self.types[name])(value, name)


def read_values(text: str) -> dict[str, Any]:
    """What `PostedRow.values` says."""
    found: dict[str, Any] = json.loads(text)
    return found


def _reader(kind: pa.DataType) -> Callable[[object, str], Any]:
    if pa.types.is_boolean(kind):
        return _flag
    if pa.types.is_integer(kind):
        return _integer
    if pa.types.is_floating(kind):
        return _number
    if pa.types.is_timestamp(kind):
        return _bound
    if pa.types.is_list(kind):
        return _texts
    return partial(read_text, longest=_MAX_CHARACTERS)


def _flag(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise GivenError(f"{name} is {kind_of(value)}, expected true or false", name)
    return value


def _integer(value: object, name: str) -> int:
    number = read_number(value, name)
    if not number.is_integer() or not -_INT64 <= number < _INT64:
        raise GivenError(f"{name} is no whole number of 64 bits", name)
    assert isinstance(value, int | float)
    return int(value)


def _number(value: object, name: str) -> float:
    number = read_number(value, name)
    if abs(number) > LARGEST:
        raise GivenError(f"{name} is beyond {LARGEST:g}", name)
    return number


def _bound(value: object, name: str) -> datetime:
    """A time of availability: one far from now, such as 9999-12-31, is as good as no bound."""
    return from_micros(min(max(read_time(value, name), EARLIEST_US), LATEST_US - 1))


def _texts(value: object, name: str) -> list[str]:
    if not isinstance(value, list):
        got = "one text" if isinstance(value, str) else kind_of(value)
        raise GivenError(f"{name} is {got}, expected a list of texts", name)
    if len(value) > _MAX_TEXTS:
        got = f"a list of {len(value):,}"
        raise GivenError(f"{name} is {got}, expected at most {_MAX_TEXTS:,} texts", name)
    return [read_text(each, name, _MAX_CHARACTERS) for each in value]
