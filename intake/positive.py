"""`[interactions] positive`: the condition under which an event is a liked one."""

import re
from collections.abc import Mapping, Sequence

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from feast_fusion.errors import schema_error
from intake.dataset import Dataset
from intake.event import EVENT_FORMAT, EVENTS, Event, journal_columns, with_columns_of

_SAMPLE_ROWS = 32
_EVENT_TYPE_NUMBER = re.compile(r"(\bevent_type\b\s*(?:=|<>|!=)\s*)(\d+)")
# Verdicts kept in memory. Ratings have few values; where each event has its own, all are dropped.
_MAX_VERDICTS = 65_536

Columns = Mapping[str, pa.ChunkedArray]


def evaluate_positive(expression: str, columns: Columns, where: str) -> pl.Series:
    """(n,) booleans, null where undecided, of an SQL expression over `columns`.

    Raises
    ------
    SchemaError
        It cannot be evaluated, is not boolean, or depends on other rows.
    """
    what = f"{where}: positive = {expression!r}"
    try:
        condition = pl.sql_expr(expression)
        frame = _frame(condition, columns)
        answer = frame.with_columns(positive=condition)["positive"]
        sample = range(0, len(frame), len(frame) // _SAMPLE_ROWS + 1)
        alone = [frame[row].with_columns(positive=condition)["positive"][0] for row in sample]
    except pl.exceptions.PolarsError as error:
        raise schema_error(
            what,
            got=f"an expression that cannot be evaluated ({error})",
            expected=f"a condition over the columns {list(columns)}",
            remedy=_remedy(expression, columns),
        ) from error
    if answer.dtype != pl.Boolean:
        raise schema_error(
            what,
            got=f"values of type {answer.dtype}",
            expected="true or false",
            remedy="Make it a condition, such as 'value >= 4'.",
        )
    if answer.gather(list(sample)).to_list() != alone:
        raise schema_error(
            what,
            got="an answer that depends on other rows",
            expected="a condition on the columns of one row",
            remedy="An average or rank over the file would let labels see the future.",
        )
    return answer


def require_both_labels(dataset: Dataset, events: pa.Table) -> None:
    """Nothing, unless `positive` says the same of all `events`, so that nothing can be learned.

    Raises
    ------
    SchemaError
        With an example of what the condition was asked about.
    """
    interactions, expression = dataset.interactions, dataset.interactions.condition
    found = pc.unique(events["positive"]).to_pylist()
    is_said_by_types = interactions.positive is None
    if expression is None or len(found) != 1 or (is_said_by_types and found[0]):
        return
    names = dict.fromkeys(pl.sql_expr(expression).meta.root_names())
    answer = "true" if found[0] else "false"
    raise schema_error(
        f"{interactions.where}: "
        + ("[interactions.types]" if is_said_by_types else f"positive = {expression!r}"),
        got=f"{answer} for each of {len(events):,} usable events"
        + "".join(
            f"; {name} {_examples(events[name])}" for name in names if name in events.column_names
        ),
        expected="true for some events and false for others",
        remedy="Correct positive in [interactions] of dataset.toml; where each event is something "
        "liked, remove positive and explicit: negatives are then drawn.",
    )


def _examples(column: pa.ChunkedArray) -> str:
    if not pa.types.is_string(column.type):
        ends = pc.min_max(column).as_py()
        return f"from {ends['min']} to {ends['max']}"
    return f"such as {', '.join(map(repr, pc.unique(column)[:3].to_pylist()))}"


def _remedy(expression: str, columns: Columns) -> str:
    """The condition with event types as texts where they were compared with numbers."""
    corrected = _EVENT_TYPE_NUMBER.sub(r"\1'\2'", expression)
    if "event_type" in columns and corrected != expression:
        return f'event_type is text, also where the file has numbers: `positive = "{corrected}"`.'
    return "Correct [interactions] positive."


class PositiveRule:
    """Whether live events are positive, as prepare will decide when it folds them in.

    Parameters
    ----------
    others : the columns of the interactions file; a live event has null where it lacks one
    """

    def __init__(self, dataset: Dataset, others: pa.Schema) -> None:
        interactions = dataset.interactions
        self._expression = interactions.condition
        self._others = others
        self._context = interactions.context
        self._verdicts: dict[tuple[object, ...], bool | None] = {}
        self._roots: tuple[int, ...] = ()
        if self._expression is not None:
            names = pl.sql_expr(self._expression).meta.root_names()
            known = [name for name in names if name in EVENTS.names]
            if set(names) & {*self._context.given}:
                known.append("context")
            self._roots = tuple(EVENTS.names.index(name) for name in known)

    def decide(self, events: Sequence[Event]) -> list[bool | None]:
        """True or false per event; None where it is undecided, which makes the event unusable."""
        if self._expression is None:
            return [True] * len(events)
        kinds = [tuple(event[root] for root in self._roots) for event in events]
        missing = {k: e for k, e in zip(kinds, events, strict=True) if k not in self._verdicts}
        if missing:
            if len(self._verdicts) + len(missing) > _MAX_VERDICTS:
                self._verdicts.clear()
                missing = dict(zip(kinds, events, strict=True))
            verdicts = self._evaluate(self._expression, list(missing.values()))
            self._verdicts.update(zip(missing, verdicts, strict=True))
        return [self._verdicts[kind] for kind in kinds]

    def _evaluate(self, expression: str, events: list[Event]) -> list[bool | None]:
        condition = pl.sql_expr(expression)
        absent = (pa.field(name, pa.null()) for name in condition.meta.root_names())
        known = journal_columns(EVENT_FORMAT.to_table(events), self._context)
        table = with_columns_of(with_columns_of(known, self._others), absent)
        frame = _frame(condition, dict(zip(table.column_names, table.columns, strict=True)))
        found: list[bool | None] = frame.with_columns(positive=condition)["positive"].to_list()
        return found


def _frame(condition: pl.Expr, columns: Columns) -> pl.DataFrame:
    """The columns that the condition names; any one column where it names none."""
    wanted = [name for name in dict.fromkeys(condition.meta.root_names()) if name in columns]
    return pl.DataFrame({name: pl.Series(columns[name]) for name in wanted or ["user_id"]})
