"""Fields that hold several values: told from names and sentences that have the same mark."""

from dataclasses import dataclass

import polars as pl

from intake.name_hints import hint_of

_PLAIN_MARKS = (" | ", "|", "; ", ";")  # hardly ever part of a name
_COMMAS = (", ", ",")
_LEAST_SHARE, _LEAST_SHARE_OF_COMMAS = 0.02, 0.1
_LEAST_RECURRING, _LEAST_MOVING, _WORDS_OF_VALUE = 0.5, 0.3, 4
_DECIMAL = r"^\s*\d+,\d+\s*$"


@dataclass(frozen=True)
class FieldList:
    """A mark between values, and what speaks for it.

    Attributes
    ----------
    share : of the fields that are known, those with several values
    n_fields, n_values : distinct fields, and the distinct values that they consist of
    example : a field with several values
    """

    mark: str
    share: float
    n_fields: int
    n_values: int
    example: str


def find_field_list(name: str, texts: pl.Series) -> FieldList | None:
    """What stands between the values of the fields `texts`, (n,) without null; None: one value.

    The values of a list are short and recur in other fields. A comma also stands within names:
    the parts of "Novak, Ines" recur too, but always in their place, whereas the values of a list
    come first in one field and later in another. A name such as "categories" makes up for that.

    Examples
    --------
    >>> films = pl.Series(["Drama, War", "War, Crime", "Crime, Drama, War", "Crime"])
    >>> find_field_list("x", films).mark
    ', '
    >>> authors = pl.Series(["Novak, Ines", "Novak, Jan", "Weber, Ines", "Weber, Jan"])
    >>> find_field_list("x", authors) is None
    True
    """
    fields = texts.unique(maintain_order=True)
    for mark in (*_PLAIN_MARKS, *_COMMAS):
        is_several = fields.str.contains(mark, literal=True)
        several = fields.filter(is_several)
        share = int(texts.is_in(several.implode()).sum()) / max(1, len(texts))
        least = _LEAST_SHARE_OF_COMMAS if mark in _COMMAS else _LEAST_SHARE
        if len(several) < 2 or share < least:
            continue
        parts = _parts(fields, mark)
        if not _are_values(parts.filter(pl.col("n_parts") > 1), parts):
            continue
        if mark in _COMMAS and not (hint_of(name, "list") or _move(parts, several)):
            continue
        return FieldList(mark, share, len(fields), parts["part"].n_unique(), several[0])
    return None


def _parts(fields: pl.Series, mark: str) -> pl.DataFrame:
    """A row per part of a field: `part`, `field`, its `place`, and the `n_parts` of the field."""
    frame = pl.DataFrame({"part": fields.str.split(mark)}).with_row_index("field")
    frame = frame.with_columns(
        n_parts=pl.col("part").list.len(), place=pl.int_ranges(pl.col("part").list.len())
    )
    return frame.explode("part", "place")


def _are_values(several: pl.DataFrame, parts: pl.DataFrame) -> bool:
    """Whether the parts of fields with several are short, and most recur in another field."""
    n_words = several["part"].str.split(" ").list.len().mean()
    n_fields = parts.group_by("part").agg(n=pl.col("field").n_unique())
    recurs = several.join(n_fields, on="part")["n"] > 1
    return float(n_words or 0) < _WORDS_OF_VALUE and float(recurs.mean() or 0) >= _LEAST_RECURRING  # type: ignore[arg-type]


def _move(parts: pl.DataFrame, several: pl.Series) -> bool:
    """Whether parts that come later in some fields come first, or alone, in others."""
    if several.str.contains(_DECIMAL).all():
        return False
    later = parts.filter(pl.col("place") > 0)["part"].value_counts().filter(pl.col("count") > 1)
    first = parts.filter(pl.col("place") == 0)["part"].unique()
    moves = later["part"].is_in(first.implode())
    return len(moves) > 0 and float(moves.mean() or 0) >= _LEAST_MOVING  # type: ignore[arg-type]
