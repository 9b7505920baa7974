"""A table as it was read, with what could not be read of it."""

from dataclasses import dataclass, field

import pyarrow as pa

from intake.tables.section import TimeReading

RAGGED = "line that is no row"
UNREAD = pa.schema(
    [("unread_file", pa.string()), ("unread_line", pa.int64()), ("unread_text", pa.string())]
)


@dataclass(frozen=True)
class SourceTable:
    """The rows of one table of a data set.

    Attributes
    ----------
    where : path or query, for messages
    label : its last part, for sentences
    section : "items", "users" or "interactions"; "events" for the journal
    table : the rows, under our names
    time : how columns of times are meant
    unread : lines of text files that are no rows of the table, of the schema `UNREAD`
    notes : what was found in reading, a sentence each
    """

    where: str
    label: str
    section: str
    table: pa.Table
    time: TimeReading = field(default_factory=TimeReading)
    unread: pa.Table = field(default_factory=UNREAD.empty_table)
    notes: tuple[str, ...] = ()
