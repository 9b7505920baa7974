"""What a query names is what comes: how much of the first ten has it, and how much taste is left.

The queries are made of the data: a category by its name, a person by the word that leads to the
column ("by alfred hitchcock"), a decade. The weights of `serving.wishes.wish` were chosen on one
half of the values; this measures the other.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from evaluation.report.document import Named
from feast_fusion.times import TIMESTAMP
from serving.catalogue import Catalogue
from serving.past import PastAnswer, PastRecommender, ReadQuery, without_query
from serving.query import read_query
from serving.vector_index import Rows
from serving.wishes.wording import Wording
from transformations.collaborative.histories import Events
from transformations.embedder import Embedder

N_USERS, N_VALUES = 8, 8
NOBODY = "feast-fusion:nobody"
DECADE = "decade"
_TOP = 10
_LEAST_ITEMS = 6  # that have a value
_FREE = 20  # unseen items that have it, from which there is a choice among them

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class NamedValue:
    """A value as a query names it, and the rows of the items that have it."""

    column: str
    text: str
    rows: Rows

    @property
    def is_held_out(self) -> bool:
        """Whether it is of the half on which no weight was chosen."""
        return zlib.crc32(self.text.encode()) % 2 == 1


def measure_named(
    recommender: PastRecommender, embedder: Embedder, events: Events, progress: Progress
) -> list[Named]:
    """By column, after all events; of users who have done little and much, and of nobody."""
    users = [*_users(events), NOBODY]
    ask = partial(_ask, recommender, users, int(events.time.max()) + 1)
    plain = ask(without_query)
    values = _held_out(plain[0].catalogue)
    found: dict[str, list[tuple[float, float]]] = {}
    for number, value in enumerate(values):
        progress("queries", number, len(values))
        answers = ask(partial(read_query, embedder=embedder, text=value.text))
        pairs = zip(answers, plain, strict=True)
        found.setdefault(value.column, []).extend(_compare(value.rows, *pair) for pair in pairs)
    examples = {value.column: value.text for value in reversed(values)}
    return [_mean(column, examples[column], each, len(users)) for column, each in found.items()]


def named_values(catalogue: Catalogue) -> list[NamedValue]:
    """All values that enough items have, as queries."""
    wording = catalogue.wording
    found = [*_values(wording), *_decades(wording)]
    return [value for value in found if len(value.rows) >= _LEAST_ITEMS]


def _values(wording: Wording) -> Iterator[NamedValue]:
    values = wording.values
    for at, value in enumerate(values.values):
        leads = ("by", "with") if at >= values.n_categories else ()
        before = [f"{lead} " for lead in leads if value.column in wording.led_to[lead]]
        text = "".join([*before[:1], value.text.lower()])
        yield NamedValue(value.column, text, values.rows([at]))


def _decades(wording: Wording) -> Iterator[NamedValue]:
    for column in wording.years.get_columns()[:1]:
        years = column.to_numpy()  # NaN where there is none
        for decade in np.unique(years[np.isfinite(years)] // 10 * 10).astype(int).tolist():
            rows = np.flatnonzero((years >= decade) & (years < decade + 10))
            yield NamedValue(DECADE, f"from the {decade}s", rows)


def _held_out(catalogue: Catalogue) -> list[NamedValue]:
    """At most `N_VALUES` of each column, the same ones each time."""
    by_column: dict[str, list[NamedValue]] = {}
    for value in named_values(catalogue):
        if value.is_held_out:
            by_column.setdefault(value.column, []).append(value)
    drawn = [
        sorted(values, key=lambda value: zlib.crc32(value.text.encode()))[:N_VALUES]
        for values in by_column.values()
    ]
    return [value for values in drawn for value in values]


def _users(events: Events) -> list[str]:
    """Evenly from who has done least to who has done most."""
    order = np.argsort(np.bincount(events.user, minlength=len(events.users)), kind="stable")
    places = np.linspace(0, len(order) - 1, min(N_USERS, len(order))).astype(np.int64)
    ids: list[str] = events.users.ids.take(pa.array(order[places])).to_pylist()
    return ids


def _ask(
    recommender: PastRecommender, users: Sequence[str], at_us: int, query: ReadQuery
) -> list[PastAnswer]:
    """The answer to each user at one instant."""
    times = pa.array([at_us] * len(users), pa.int64()).cast(TIMESTAMP)
    requests = pa.table({"user_id": users, "event_timestamp": times})
    answers = recommender.answers(requests, _TOP, query=query)
    return sorted(answers, key=lambda answer: answer.number)


def _compare(rows: Rows, answer: PastAnswer, plain: PastAnswer) -> tuple[float, float]:
    """The share of the first ten that could have a value and has it, and of taste that is left.

    Taste would choose the first ten that have it from the answer to no query. NaN where too few
    have it for a choice.
    """
    wished = plain.order[np.isin(plain.order, rows)]
    first = answer.order[:_TOP]
    having = np.isin(first, rows).sum() / min(_TOP, len(wished)) if len(wished) else np.nan
    liked = np.isin(first, wished[:_TOP]).mean() if len(wished) >= _FREE else np.nan
    return float(having), float(liked)


def _mean(column: str, example: str, pairs: Sequence[tuple[float, float]], n_users: int) -> Named:
    having, liked = np.array(pairs).T
    return Named(
        column=column,
        example=example,
        n_values=len(pairs) // n_users,
        having=_mean_of_known(having),
        taste=_mean_of_known(liked),
    )


def _mean_of_known(numbers: np.ndarray) -> float:
    known = numbers[np.isfinite(numbers)]
    return float(known.mean()) if len(known) else float("nan")
