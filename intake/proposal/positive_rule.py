"""Which events are liked ones, as far as values, marks or types of events say it."""

import re

import polars as pl

from intake.name_hints import hint_of
from intake.proposal.event_columns import EventColumns
from intake.proposal.questions import Ask, Question
from intake.proposal.seen_table import SeenTable

_ALL = "Every event counts as liked."
_MOST_LEVELS = 101  # of a percentage
_LIKED_SHARE = 0.7  # of the span of ratings: 4 of 1 to 5, 8 of 1 to 10


def propose_positive(log: SeenTable, events: EventColumns, ask: Ask) -> tuple[str | None, str]:
    """The condition, None where every event counts; and the reason for it."""
    if events.truth is not None:
        name = events.truth if re.fullmatch(r"[a-z_]\w*", events.truth) else f'"{events.truth}"'
        is_number = log.columns[events.truth].kind == "number"
        return f"{name} = 1" if is_number else name, f"{events.truth} says whether it was liked."
    if events.value is None:
        return None, f"No column rates the items. {_ALL}"
    n_levels = log.columns[events.value].n_distinct
    if n_levels > _MOST_LEVELS and hint_of(events.value, "value") < 2:
        return (
            None,
            f"{events.value} has {n_levels:,} different numbers, so it is no rating. {_ALL}",
        )
    values = pl.Series(log.table[events.value]).cast(pl.Float64, strict=False).drop_nulls()
    levels = sorted(values.unique().to_list())
    at_least = next(
        (each for each in levels if each >= levels[0] + _LIKED_SHARE * (levels[-1] - levels[0])),
        levels[-1],
    )
    words = (
        f"{events.value} goes from {levels[0]:g} to {levels[-1]:g}. From which value on is an item "
        "liked?"
    )
    answer = ask(Question(words, f"{at_least:g}", is_number=True))
    return f"value >= {float(answer):g}", f"{events.value} rates the items."
