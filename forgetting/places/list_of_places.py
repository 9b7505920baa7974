"""Every place where a person is, in the order in which they are erased."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from forgetting.case import Case, Surroundings
from forgetting.places import (
    history_rows,
    ingested_rows,
    journal_events,
    kept_texts,
    online_keys,
    prepared_rows,
    run_report,
    served_answers,
    training_rows,
    unfinished,
)

Tables = Iterator[tuple[str, pa.Table]]


def _nothing(place: Surroundings, user_id: str) -> Tables:
    """What is made of other places, which have it too."""
    return iter(())


@dataclass(frozen=True)
class Place:
    """Where a person is.

    Attributes
    ----------
    erase : takes the people of a case out; how many rows, records or keys they had. What is
        interrupted is completed by another call
    read : what the place has of one person, as named tables
    """

    name: str
    erase: Callable[[Case], int]
    read: Callable[[Surroundings, str], Tables]


# The journal comes first, for the others follow from it. What Redis has comes last: a service
# makes it anew from the journal and the sources where it is gone.
PLACES = (
    Place("journal", journal_events.erase, journal_events.read),
    Place("ingested", ingested_rows.erase, ingested_rows.read),
    Place("sources", prepared_rows.erase, prepared_rows.read),
    Place("history", history_rows.erase, history_rows.read),
    Place("training_sets", training_rows.erase, training_rows.read),
    Place("unfinished_trainings", unfinished.erase, _nothing),
    Place("run_report", run_report.erase, _nothing),
    Place("texts", kept_texts.erase, kept_texts.read),
    Place("served", served_answers.erase, served_answers.read),
    Place("online", online_keys.erase, online_keys.read),
)


def kept_tables(place: Surroundings, user_id: str) -> Tables:
    """What all places have of a user: tables with rows, each by "place/table"."""
    for each in PLACES:
        for name, table in each.read(place, user_id):
            if len(table):
                yield f"{each.name}/{name}", table


def is_kept(place: Surroundings, user_id: str) -> bool:
    """Whether any place has a row of a user; the places after it are not read.

    Raises
    ------
    FeastFusionError
        A place cannot be reached or read.
    """
    return any(True for _ in kept_tables(place, user_id))


def count_kept(place: Surroundings, user_id: str) -> int:
    """How many rows all places have of a user.

    Raises
    ------
    FeastFusionError
        A place cannot be reached or read.
    """
    return sum(len(table) for _, table in kept_tables(place, user_id))
