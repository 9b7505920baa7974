"""All that the words of a query are compared with."""

from dataclasses import dataclass

import polars as pl

from feast_fusion.column_names import feature_column
from feast_fusion.training_set import TrainingSet
from intake.dataset import Dataset
from intake.text_template import words_before
from serving.filters.item_columns import ItemColumns, column_series
from serving.wishes.item_values import ItemValues, exploded
from serving.wishes.item_words import ItemWords
from serving.wishes.words import LEADS, plain_words
from training.ranker.columns import has_feature
from transformations.names import ITEM_PROFILE

# A text column has names, as of people, where this share of its values is of 1 to 4 words alone.
_NAME_SHARE, _NAME_WORDS, _SAMPLE = 0.9, 4, 500
_YEARS = (1000, 2999)


@dataclass(frozen=True)
class Wording:
    """What n items have and say.

    Attributes
    ----------
    led_to : by a word that leads to names, as "by" does, the columns that it leads to
    years : numeric columns that hold years alone, n rows
    """

    values: ItemValues
    texts: ItemWords
    led_to: dict[str, frozenset[str]]
    years: pl.DataFrame

    @classmethod
    def of(cls, rows: TrainingSet, dataset: Dataset, columns: ItemColumns) -> "Wording":
        """From one row per item, and its columns as filters read them."""
        items = dataset.items
        texts = [_text(rows, name) for name in (items.title, *items.text_columns)]
        given = columns.frame.get_columns()
        categories = [each for each in given if not each.dtype.is_numeric()]
        taken = {each.name for each in given}
        own = {each.name: each for each in texts if each is not None and each.name not in taken}
        names = [each for name, each in own.items() if name != items.title and _has_names(each)]
        named = {each.name for each in names}
        common = [*categories, *(each for name, each in own.items() if name not in named)]
        return cls(
            ItemValues.of(categories, names, len(rows)),
            ItemWords.of(common, names, len(rows)),
            _led_to(items.text),
            columns.frame.select(each.name for each in given if _has_years(each)),
        )


def _text(rows: TrainingSet, name: str) -> pl.Series | None:
    """A text column; None where there is none, or it has numbers."""
    column = feature_column(ITEM_PROFILE, name)
    found = column_series(rows, name, column) if has_feature(rows, column) else None
    return None if found is None or found.dtype not in (pl.String, pl.List(pl.String)) else found


def _has_names(column: pl.Series) -> bool:
    """Whether it has names and not sentences, sizes or codes."""
    texts = exploded(column)["text"].unique(maintain_order=True).head(_SAMPLE)
    words = [plain_words(part) for text in texts for part in text.split(", ")]
    fitting = [1 <= len(each) <= _NAME_WORDS and "".join(each).isalpha() for each in words]
    return bool(fitting) and sum(fitting) >= _NAME_SHARE * len(fitting)


def _has_years(column: pl.Series) -> bool:
    known = column.drop_nulls()
    if not column.dtype.is_numeric() or not len(known):
        return False
    return bool(((known == known.round()) & known.is_between(*_YEARS)).all())


def _led_to(template: str) -> dict[str, frozenset[str]]:
    """By each of `LEADS` the columns that the template has behind it or one that means the same."""
    before = {name: set(plain_words(text)) for name, text in words_before(template).items()}
    return {
        lead: frozenset(name for name, words in before.items() if words & alike)
        for alike in LEADS
        for lead in alike
    }
