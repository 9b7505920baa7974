"""The values of columns of items, which items have each, and by which words each is named."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy.sparse as sp

from serving.vector_index import Rows
from serving.wishes.words import Word, words_of

_LONGEST = 5  # words of a value that are compared together
_PAIRS = {"column": pl.String, "row": pl.UInt32, "text": pl.String}
_SEVERAL = ", "  # parts the names in one text, as in "Ethan Coen, Joel Coen"


@dataclass(frozen=True)
class Value:
    """One value of one column."""

    column: str
    text: str


@dataclass(frozen=True)
class ItemValues:
    """What n items have. Never changes; safe for many threads.

    Attributes
    ----------
    values : of categories, then names
    n_categories : how many of the values are categories
    having : (values, n) True where an item has a value
    whole, part : by the phrase that is a value, or part of a category: places among the values
    last : by the end of a name, such as a surname: places among the values
    """

    values: Sequence[Value]
    n_categories: int
    having: sp.csr_matrix
    whole: Mapping[str, Sequence[int]]
    part: Mapping[str, Sequence[int]]
    last: Mapping[str, Sequence[int]]

    @classmethod
    def of(
        cls, categories: Sequence[pl.Series], names: Sequence[pl.Series], n: int
    ) -> "ItemValues":
        """From columns of n texts or lists of texts; a text may have several names."""
        found = [exploded(each) for each in categories] + [_parted(each) for each in names]
        pairs = pl.concat([pl.DataFrame(schema=_PAIRS), *found])
        distinct = pairs.select("column", "text").unique(maintain_order=True).with_row_index("at")
        at = pairs.join(distinct, ["column", "text"], maintain_order="left")["at"].to_numpy()
        ones = np.ones(len(at), dtype=bool)
        having = sp.csr_matrix((ones, (at, pairs["row"].to_numpy())), (len(distinct), n))
        values = [Value(*each) for each in distinct.select("column", "text").rows()]
        columns = {each.name for each in categories}
        n_categories = sum(value.column in columns for value in values)
        return cls(values, n_categories, having, *_phrases(values, n_categories))

    def rows(self, codes: Iterable[int]) -> Rows:
        """Rows of the items that have any of the values in these places."""
        found = np.zeros(self.having.shape[1], dtype=bool)
        for at in codes:
            found[self.having.indices[self.having.indptr[at] : self.having.indptr[at + 1]]] = True
        return np.flatnonzero(found)


def exploded(column: pl.Series) -> pl.DataFrame:
    """column, row and text of each text of a column of texts or lists of texts."""
    listed = column.rename("text").to_frame().with_row_index("row")
    if listed.schema["text"] != pl.String:
        listed = listed.explode("text", empty_as_null=True)
    return listed.drop_nulls().select(pl.lit(column.name).alias("column"), "row", "text")


def _parted(column: pl.Series) -> pl.DataFrame:
    texts = exploded(column).with_columns(pl.col("text").str.split(_SEVERAL))
    return texts.explode("text").drop_nulls()


def joined(words: Iterable[str]) -> str:
    """Words as they are compared: "sci-fi", "sci fi" and "scifi" are the same."""
    return "".join(words)


def _phrases(
    values: Sequence[Value], n_categories: int
) -> tuple[dict[str, list[int]], dict[str, list[int]], dict[str, list[int]]]:
    """`whole`, `part` and `last` of `ItemValues`."""
    whole, part, last = (defaultdict[str, list[int]](list) for _ in range(3))
    for at, value in enumerate(values):
        words = words_of(value.text)
        if at >= n_categories:
            whole[joined(word.plain for word in words)].append(at)
            for start in range(1, len(words)):
                last[joined(word.plain for word in words[start:])].append(at)
            continue
        whole[joined(word.stem for word in words)].append(at)
        for phrase in _inner(words):
            part[phrase].append(at)
    return dict(whole), dict(part), dict(last)


def _inner(words: Sequence[Word]) -> set[str]:
    """The phrases in a category that can stand for it: they begin and end with a telling word."""
    telling = [not word.is_empty and not word.plain.isdigit() for word in words]
    return {
        joined(word.stem for word in words[start:end])
        for start in range(len(words))
        for end in range(start + 1, min(start + _LONGEST, len(words)) + 1)
        if telling[start] and telling[end - 1]
    }
