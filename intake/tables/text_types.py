"""What the texts of a file are: numbers where every text of a column is one, else text."""

from collections.abc import Callable, Collection
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from feast_fusion.parquet.column_types import is_text
from intake.tables.file_kind import Kind
from intake.tables.section import TableSection

# A number that begins with 0 is an id or a code; so is one with a plus or without digits.
_WHOLE = r"^\s*-?(0|[1-9]\d{0,17})\s*$"
_NUMBER = r"(?i)^\s*[-+]?(\d+\.?\d*(e[-+]?\d+)?|\.\d+(e[-+]?\d+)?|nan|inf|infinity)\s*$"
_CODE = r"^\s*[-+]?0\d"
_TRUTH = r"(?i)^\s*(true|false)\s*$"


Role = Literal["text", "number", "any"]


def type_texts(
    table: pa.Table, section: TableSection, role: Callable[[str], Role], kinds: Collection[Kind]
) -> pa.Table:
    """The table with the types that its columns of text have.

    Lists of `section` are split and its null values are null; so are empty texts of text files and
    of numbers. A column becomes numbers, or true and false, if every text in it is one.

    Parameters
    ----------
    role : of a column: "text" stays text whatever it looks like (ids, times, categories), "number"
        becomes numbers in any file, "any" in delimited files, whose fields have no types
    kinds : of the files
    """
    is_delimited = {*kinds} == {"delimited"}
    is_text_file = {*kinds} <= {"delimited", "json"} and bool(kinds)
    for at, name in enumerate(table.column_names):
        column = table.column(at)
        if is_text(column.type):
            is_number = role(name) == "number"
            nothing = ["", *section.null_values] if is_number or is_text_file else []
            column = _without(column, nothing or section.null_values)
            if name in section.lists:
                column = pc.split_pattern(column, section.lists[name])
            elif is_number or (is_delimited and role(name) == "any"):
                column = _typed(column)
            table = table.set_column(at, name, column)
    return table


def texts_without_number(known: pa.ChunkedArray) -> pa.ChunkedArray:
    """Those of the texts, none null, that are no number; all of them where each is one."""
    odd = known.filter(pc.invert(pc.match_substring_regex(known, _NUMBER)))
    return odd if len(odd) else known


def _without(column: pa.ChunkedArray, nothing: Collection[str]) -> pa.ChunkedArray:
    if not nothing:
        return column
    is_nothing = pc.is_in(column, value_set=pa.array(nothing, column.type))
    return pc.if_else(is_nothing, pa.scalar(None, column.type), column)


def _typed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    known = pc.drop_null(column)
    if not len(known):
        return column
    if _all(known, _WHOLE):
        return _cast(column, pa.int64())
    if _all(known, _NUMBER) and not pc.any(pc.match_substring_regex(known, _CODE)).as_py():
        return _cast(column, pa.float64())
    if _all(known, _TRUTH):
        return _cast(column, pa.bool_())
    return column


def _all(known: pa.ChunkedArray, pattern: str) -> bool:
    # the first tells nearly always, and costs nothing
    first = pc.match_substring_regex(known[:1], pattern)
    return first[0].as_py() and bool(pc.all(pc.match_substring_regex(known, pattern)).as_py())


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    return pc.utf8_lower(pc.utf8_trim_whitespace(column)).cast(kind)
