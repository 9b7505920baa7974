"""What a clause names, word by word, and what is left of it."""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np
import polars as pl

from serving.vector_index import Rows
from serving.wishes.item_values import Value, joined
from serving.wishes.wording import Wording
from serving.wishes.words import LEADS, STANDS_FOR, STOP_WORDS, Word, stem_of, words_of
from serving.wishes.year_spans import YearSpan, read_years

_LONGEST = 6  # words that name one value
_READ, _SPANS = 200, 8  # words of a clause, and spans of years, that are read
_LEADS = frozenset[str]().union(*LEADS)
_OLD_SHARE = 0.25

By = Literal["whole", "part", "standing for"]


@dataclass(frozen=True)
class Mention:
    """Words that name values: an item fits that has any of them.

    Attributes
    ----------
    words : empty for years
    rows : of the items that fit
    by : whether the words are a value, or part of some, or stand for some
    """

    words: tuple[Word, ...]
    values: tuple[Value, ...]
    rows: Rows
    by: By


@dataclass(frozen=True)
class Reading:
    """What a clause says.

    Attributes
    ----------
    mentions : what it names, each once
    runs : words that stand together and may mean a value: those that name none, or only a part
    rest : words that name nothing, without their endings
    """

    mentions: tuple[Mention, ...]
    runs: tuple[str, ...]
    rest: tuple[str, ...]


def read_clause(text: str, wording: Wording, spared: Set[Value] = frozenset()) -> Reading:
    """What the words of a clause name: the longest phrases first, from left to right.

    Parameters
    ----------
    spared : values for which no word stands, since they are named with another sense
    """
    spans, text = read_years(text) if wording.years.width else ([], text)
    parts = list(_Reader(wording, spared).parts(words_of(text)[:_READ]))
    of_years = [_of_years(span, wording.years) for span in list(dict.fromkeys(spans))[:_SPANS]]
    named = [*of_years, *(part for part in parts if isinstance(part, Mention))]
    unnamed = [part for part in parts if isinstance(part, Word) and not part.is_empty]
    runs = [" ".join(run) for is_run, run in groupby(map(_unsure, parts), bool) if is_run]
    return Reading(
        tuple({mention.values: mention for mention in named}.values()),
        tuple(dict.fromkeys(runs)),
        tuple(word.stem for word in unnamed),
    )


@dataclass(frozen=True)
class _Reader:
    wording: Wording
    spared: Set[Value]

    def parts(self, words: Sequence[Word]) -> Iterator[Mention | Word]:
        """Mentions, and the words that are none."""
        at, lead = 0, ""
        while at < len(words):
            mention = self._longest(words[at : at + _LONGEST], lead)
            if mention is None:
                word = words[at]
                lead = word.plain if word.plain in _LEADS else lead if word.is_empty else ""
                at += 1
                yield word
            else:
                at += len(mention.words)
                yield mention

    def _longest(self, words: Sequence[Word], lead: str) -> Mention | None:
        """What the first of some words name behind a lead, by as many of them as possible."""
        values = self.wording.values
        for length in range(len(words), 0, -1):
            phrase = words[:length]
            if length == 1 and phrase[0].plain in STOP_WORDS:
                return None
            codes, by = self._named(phrase, lead)
            if codes:
                found = tuple(values.values[code] for code in codes)
                return Mention(tuple(phrase), found, values.rows(codes), by)
        return None

    def _named(self, phrase: Sequence[Word], lead: str) -> tuple[list[int], By]:
        """Places of the values that a phrase names, and how."""
        values = self.wording.values
        stems, plain = joined(word.stem for word in phrase), joined(word.plain for word in phrase)
        whole = {*values.whole.get(stems, ()), *values.whole.get(plain, ())}
        found = whole.union(values.part.get(stems, ()))
        if found:
            return self._led(sorted(found), lead), "whole" if whole else "part"
        if plain in values.last and self._is_surname(phrase, lead):
            return self._led(values.last[plain], lead), "whole"
        return self._stood_for(stems), "standing for"

    def _is_surname(self, phrase: Sequence[Word], lead: str) -> bool:
        """Whether it can be the end of a name, though it may be another word too, as "stone" is.

        "With" alone says little: "with love" is no actor.
        """
        is_certain = len(phrase) > 1 or not self.wording.texts.is_common(phrase[0].stem)
        return is_certain or lead not in ("", "with")

    def _led(self, codes: Sequence[int], lead: str) -> list[int]:
        """Those in a column that the lead leads to, if there are any, else all."""
        columns = self.wording.led_to.get(lead, frozenset())
        led = [code for code in codes if self.wording.values.values[code].column in columns]
        return led or [*codes]

    def _stood_for(self, stem: str) -> list[int]:
        values = self.wording.values
        named = [values.whole.get(stem_of(word), ()) for word in STANDS_FOR.get(stem, ())]
        found = {code for codes in named for code in codes}
        return sorted(code for code in found if values.values[code] not in self.spared)


def _unsure(part: Mention | Word) -> str:
    """The words of a part where these may mean a value, else nothing."""
    if isinstance(part, Word):
        return "" if part.is_empty else part.plain
    return "" if part.by == "whole" else " ".join(word.plain for word in part.words)


def _of_years(span: YearSpan, years: pl.DataFrame) -> Mention:
    fits = np.zeros(len(years), dtype=bool)
    values = []
    for column in years.get_columns():
        last = int(column.quantile(_OLD_SHARE) or 0) if span.is_old else span.last
        bounds = [column >= span.first] if span.first is not None else []
        bounds += [column <= last] if last is not None else []
        inside = np.logical_and.reduce([each.fill_null(value=False).to_numpy() for each in bounds])
        fits |= inside
        values.append(Value(column.name, _in_words(span.first, last)))
    return Mention((), tuple(values), np.flatnonzero(fits), "whole")


def _in_words(first: int | None, last: int | None) -> str:
    if first is None:
        return f"until {last}"
    if last is None:
        return f"from {first}"
    return str(first) if first == last else f"{first} to {last}"
