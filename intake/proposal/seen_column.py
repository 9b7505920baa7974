"""What a column holds, by its content."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from feast_fusion.parquet.column_types import is_text
from intake.proposal.field_list import FieldList, find_field_list
from intake.tables.section import TimeReading
from intake.time_readings import known_format, plausible_unit

Kind = Literal["number", "truth", "time", "text", "list", "nested", "nothing"]

_SAMPLE = 2_000
_NUMBER = r"^\s*-?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"
_TRUTH = r"(?i)^\s*(true|false)\s*$"
_ISO = (
    r"^\s*\d{4}-\d{2}-\d{2}([Tt ]\d{2}:\d{2}(:\d{2})?([.,]\d+)?)?\s*(Z|z|UTC|[+-]\d{2}:?\d{2})?\s*$"
)
_ZONE = r"(Z|z|UTC|[+-]\d{2}:?\d{2})\s*$"
# Whole numbers that are times only under a name that says so.
_DAY_NUMBERS = ("%Y%m%d",)


@dataclass(frozen=True)
class SeenColumn:
    """A column and what was found in it.

    Attributes
    ----------
    kind : of its content
    n, n_null, n_distinct : rows, rows without a value, distinct values; of a column of lists, those
        in the lists
    words, characters : of a text, on average
    is_whole : whether numbers have no fraction
    time : how a column of times is meant, without the zone
    needs_zone : whether its times do not say their zone
    field_list : what stands between the values of a field, where it has several
    examples : first distinct values
    """

    name: str
    kind: Kind
    n: int
    n_null: int
    n_distinct: int
    words: float
    characters: float
    is_whole: bool
    time: TimeReading | None
    needs_zone: bool
    field_list: FieldList | None
    examples: tuple[str, ...]

    @property
    def is_unique(self) -> bool:
        """Whether each row has a value of its own."""
        return self.n_null == 0 and self.n_distinct == self.n

    @property
    def can_be_id(self) -> bool:
        """Whether its values can identify something."""
        is_one_word = self.kind == "text" and self.words < 1.5 and self.characters <= 80
        is_number = self.kind == "number" and self.is_whole
        return self.n_distinct > 1 and (is_one_word or is_number)


def see_column(name: str, column: pa.ChunkedArray, now: datetime) -> SeenColumn:
    """What a column holds; a column of texts is what all its texts are."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    known = column.drop_null()
    kind, reading, needs_zone = _kind(name, known, now)
    texts = (
        pl.Series("", known.cast(pa.string()))
        if kind not in ("list", "nested", "nothing")
        else None
    )
    sample = texts.head(_SAMPLE) if texts is not None else None
    words = characters = 0.0
    if sample is not None and len(sample):
        words = float(sample.str.split(" ").list.len().mean() or 0.0)  # type: ignore[arg-type]
        characters = float(sample.str.len_chars().mean() or 0.0)  # type: ignore[arg-type]
    is_whole = (
        kind == "number"
        and sample is not None
        and not sample.str.contains(r"\.\d*[1-9]|[eE]-").any()
    )
    return SeenColumn(
        name,
        kind,
        len(column),
        column.null_count,
        texts.n_unique() if texts is not None else _n_distinct(known, kind),
        words,
        characters,
        is_whole,
        reading,
        needs_zone,
        find_field_list(name, sample) if kind == "text" and sample is not None else None,
        tuple(sample.unique(maintain_order=True).head(3)) if sample is not None else (),
    )


def _n_distinct(known: pa.ChunkedArray, kind: Kind) -> int:
    return len(pc.unique(pc.list_flatten(known))) if kind == "list" else len(known)


def _kind(
    name: str, known: pa.ChunkedArray, now: datetime
) -> tuple[Kind, TimeReading | None, bool]:
    found = known.type
    if not len(known):
        return "nothing", None, False
    if pa.types.is_timestamp(found) or pa.types.is_date(found):
        return "time", TimeReading(), pa.types.is_date(found) or found.tz is None
    if pa.types.is_list(found) or pa.types.is_large_list(found):
        if not len(known.combine_chunks().flatten()):
            return "nothing", None, False
        return ("nested" if pa.types.is_nested(found.value_type) else "list"), None, False
    if pa.types.is_nested(found) or pa.types.is_binary(found):
        return "nested", None, False
    if pa.types.is_boolean(found):
        return "truth", None, False
    texts = pl.Series("", known[:_SAMPLE].cast(pa.string()))
    if is_text(found) and texts.str.contains(_TRUTH).all():
        return "truth", None, False
    if not is_text(found) or texts.str.contains(_NUMBER).all():
        return _number_or_time(name, texts, now)
    if texts.str.contains(_ISO).all():
        return "time", TimeReading(), not texts.str.contains(_ZONE).all()
    form = known_format(texts.str.strip_chars().to_list())
    if form is not None:
        return "time", TimeReading(format=form), "%z" not in form
    return "text", None, False


def _number_or_time(
    name: str, texts: pl.Series, now: datetime
) -> tuple[Kind, TimeReading | None, bool]:
    """Numbers are times where all are plausible in one unit and the name speaks of time."""
    numbers = texts.cast(pl.Float64, strict=False).drop_nulls()
    speaks = re.search(r"(time|date|_at$|_dat$|^ts$|day|created|updated)", name, re.I) is not None
    looks = name.startswith("column_") and len(numbers) and float(numbers.min()) > 9e8  # type: ignore[arg-type]
    if len(numbers) and (speaks or looks):
        units = {plausible_unit(int(each), now) for each in numbers.to_list()}
        if len(units) == 1 and None not in units:
            return "time", TimeReading.model_validate({"unit": units.pop()}), False
        form = known_format(texts.str.strip_chars().to_list())
        if form in _DAY_NUMBERS:
            return "time", TimeReading(format=form), True
    return "number", None, False


def share_of(values: pa.ChunkedArray, keys: pa.ChunkedArray) -> float:
    """Which share of the distinct `values` is among `keys`, both as texts."""
    distinct = pc.unique(values.cast(pa.string())).drop_null()
    if not len(distinct):
        return 0.0
    found = pc.is_in(distinct, value_set=pc.unique(keys.cast(pa.string())).drop_null())
    return float(pc.mean(found.cast(pa.float64())).as_py())
