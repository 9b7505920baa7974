"""How the records of a journal are written: as JSON in its lines, as rows of a table elsewhere."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import pyarrow as pa

# Whose record it is: kind is "user" or "item", and the id.
Key = tuple[str, str]


class Record(Protocol):
    """A named tuple whose first field is its id; its times are microseconds since the epoch."""

    def _asdict(self) -> dict[str, Any]: ...

    def __getitem__(self, at: int, /) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...


R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class RecordFormat(Generic[R]):
    """Records of one kind.

    Attributes
    ----------
    record : makes one of its fields
    schema : of a table of records: one column per field, in their order
    keys_of : the users and items of a record
    """

    record: Callable[..., R]
    schema: pa.Schema
    keys_of: Callable[[R], tuple[Key, ...]]

    @property
    def id_column(self) -> str:
        """The column of the ids of records."""
        return str(self.schema.names[0])

    def id_of(self, record: R) -> str:
        """What a record is known by: of two with one id the first received counts."""
        return str(record[0])

    def encode(self, record: R) -> bytes:
        """The record as its line has it."""
        return json.dumps(record._asdict(), ensure_ascii=False, separators=(",", ":")).encode()

    def decode(self, body: bytes) -> R:
        """The record that was encoded."""
        fields: Mapping[str, Any] = json.loads(body)
        return self.record(**fields)

    def decode_all(self, bodies: Iterable[bytes]) -> list[R]:
        """The records of lines; a blank has none."""
        return [self.decode(body) for body in bodies if not is_blank(body)]

    def to_table(self, records: Sequence[R]) -> pa.Table:
        """A table of `schema`, one row per record."""
        columns = zip(*records, strict=True) if records else ([] for _ in self.schema)
        arrays = [
            pa.array(column, pa.int64()).cast(field.type)
            if pa.types.is_timestamp(field.type)
            else pa.array(column, field.type)
            for field, column in zip(self.schema, columns, strict=True)
        ]
        return pa.table(arrays, schema=self.schema)

    def to_records(self, table: pa.Table) -> list[R]:
        """The records of such a table."""
        columns = [
            column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
            for column in table.columns
        ]
        return list(map(self.record, *(column.to_pylist() for column in columns)))


def is_blank(body: bytes) -> bool:
    """Whether a line has nothing left of its record: it was erased."""
    return body[1:2] == b" "
