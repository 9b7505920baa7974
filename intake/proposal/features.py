"""Which columns of items or users are features, of what kind, and why."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from intake.name_hints import hint_of, is_code, is_counted
from intake.proposal.seen_column import SeenColumn

_MOST_CATEGORIES = 2_000
_CATEGORIES_IN_TEXT, _OTHERS_IN_TEXT = 6, 2
_LONG_WORDS = 6.0
_DECIMAL_COMMA = re.compile(r"-?[\d.]*\d,\d+")
_WORD = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True)
class Features:
    """What is proposed of the columns of a table.

    Attributes
    ----------
    title : None where no column names an item
    own : short texts, such as a subtitle, most of which one item has: for the text alone
    prose : long texts, such as a description: for the text alone
    lists : columns with several values in a field, and what stands between them
    reasons : by key of the section, what speaks for its value, a sentence each
    left_out : columns that are no features, and why
    """

    title: str | None
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    own: tuple[str, ...]
    prose: tuple[str, ...]
    lists: dict[str, str]
    reasons: dict[str, list[str]]
    left_out: dict[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are read."""
        title = (self.title,) if self.title is not None else ()
        return (*title, *self.own, *self.prose, *self.numeric, *self.categorical)

    @property
    def keys(self) -> dict[str, Any]:
        """The keys of a section that name features."""
        return {"numeric": self.numeric, "categorical": self.categorical, "lists": self.lists}

    def template(self, title: str) -> str:
        """The text of an item: its title, what has a name before it, and its long texts."""
        named = (*self.categorical[:_CATEGORIES_IN_TEXT], *self.own)
        parts = [f"{{{self.title or title}}}", *map(_with_name, named)]
        return ". ".join([*parts, *(f"{{{name}}}" for name in self.prose)]) + "."


def _with_name(column: str) -> str:
    """A placeholder with the column's name before it.

    >>> _with_name("release_year")
    'Release year: {release_year}'
    """
    words = column.replace("_", " ").replace("{", "").replace("}", "").strip()
    return f"{words.capitalize()}: {{{column}}}"


def find_features(columns: Sequence[SeenColumn], *, with_title: bool) -> Features:
    """The features among the columns, which are those of a table but for its key and time.

    Parameters
    ----------
    with_title : whether the table is of items, which have a title and a text
    """
    title = _title(columns) if with_title else None
    rest = [each for each in columns if each is not title]
    left_out = {each.name: why for each in rest if (why := _reason_against(each, with_title))}
    kept = [each for each in rest if each.name not in left_out]
    texts = [each for each in kept if _is_prose(each)]
    own = [each for each in texts if each.words <= _LONG_WORDS]
    prose = [each for each in texts if each not in own]
    numeric = [each for each in kept if each.kind == "number" and not is_code(each.name)]
    categorical = [each for each in kept if each not in texts and each not in numeric]
    others = [*own[_OTHERS_IN_TEXT:], *prose[_OTHERS_IN_TEXT:]]
    own, prose = own[:_OTHERS_IN_TEXT], prose[:_OTHERS_IN_TEXT]
    return Features(
        title.name if title is not None else None,
        _names(numeric),
        _names(categorical),
        _names(own),
        _names(prose),
        {each.name: each.field_list.mark for each in categorical if each.field_list is not None},
        _reasons(title, numeric, categorical, [*own, *prose]),
        left_out | {each.name: "the text has enough others" for each in others},
    )


def _names(columns: Sequence[SeenColumn]) -> tuple[str, ...]:
    return tuple(each.name for each in columns)


def _title(columns: Sequence[SeenColumn]) -> SeenColumn | None:
    """The text that names an item: as its own name says, else a short one that most items own."""
    texts = [each for each in columns if each.kind == "text" and each.characters < 200]
    best = max(texts, key=_clarity_of_title, default=None)
    is_named = best is not None and hint_of(best.name, "title") > 0
    return best if best is not None and (is_named or _may_be_title(best)) else None


def _clarity_of_title(column: SeenColumn) -> tuple[bool, bool, bool, int, int]:
    hint, is_short = hint_of(column.name, "title"), column.words <= _LONG_WORDS
    return hint == 2, _may_be_title(column), is_short, hint, column.n_distinct


def _may_be_title(column: SeenColumn) -> bool:
    return column.n_distinct > 0.5 * column.n and column.words >= 1.2 and not _is_url(column)


def _reason_against(column: SeenColumn, with_title: bool) -> str | None:
    """Why a column is no feature; None where it is one."""
    if column.kind == "nothing":
        return "no value"
    if column.kind == "nested":
        return "values with an inner structure"
    if column.kind == "time":
        return "times"
    if column.n_distinct < 2 and column.kind != "list":
        return "the same value everywhere"
    if column.kind == "number" and is_counted(column.name):
        return "by its name counted over events, also over those that come later"
    if _is_url(column):
        return "addresses"
    if column.kind == "text" and all(map(_DECIMAL_COMMA.fullmatch, column.examples)):
        return "numbers with a decimal comma; with a point they can be numeric"
    if not with_title and hint_of(column.name, "title"):
        return "names of people"
    if _is_prose(column):
        return None if with_title else "texts; only items have a text"
    is_name = column.kind == "text" or (column.kind == "number" and is_code(column.name))
    return "an id: most rows have their own" if is_name and _is_own(column) else None


def _is_prose(column: SeenColumn) -> bool:
    """Whether a column is texts in words that are no categories: long, or of one item each."""
    is_text = column.kind == "text" and column.field_list is None
    reads = column.words >= 1.2 and all(map(_WORD.search, column.examples))
    return is_text and (column.words > _LONG_WORDS or (reads and _is_own(column)))


def _is_url(column: SeenColumn) -> bool:
    return any("://" in each for each in column.examples)


def _is_own(column: SeenColumn) -> bool:
    n_known = column.n - column.n_null
    is_own = column.n_distinct > min(_MOST_CATEGORIES, max(20.0, 0.7 * n_known))
    return is_own and column.field_list is None


def _reasons(
    title: SeenColumn | None,
    numeric: Sequence[SeenColumn],
    categorical: Sequence[SeenColumn],
    texts: Sequence[SeenColumn],
) -> dict[str, list[str]]:
    reasons = {}
    if title is not None:
        is_named = hint_of(title.name, "title") > 0
        why = "by its name" if is_named else "short texts, and most items have their own"
        reasons["title"] = [f"{title.name}: {why}."]
    if texts:
        names = ", ".join(_names(texts))
        reasons["text"] = [f"Too long or too many to be categories, so in the text alone: {names}."]
    if numeric:
        shown = ", ".join(f"{each.name} ({', '.join(each.examples)})" for each in numeric)
        reasons["numeric"] = [f"Numbers that measure something: {shown}."]
    if categorical:
        shown = ", ".join(f"{each.name} ({_n_values(each):,})" for each in categorical)
        reasons["categorical"] = [f"Values that rows share, with how many there are: {shown}."]
    reasons["lists"] = [
        f"{each.name} has several values in {found.share:.0%} of its fields, such as "
        f"{found.example!r}: {found.n_fields:,} different fields are made of {found.n_values:,} "
        "values."
        for each in categorical
        if (found := each.field_list) is not None
    ]
    return reasons


def _n_values(column: SeenColumn) -> int:
    return column.n_distinct if column.field_list is None else column.field_list.n_values
