"""Which columns of a log of events are user, item, time, value and type."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from feast_fusion.errors import SchemaError, schema_error
from intake.name_hints import hint_of, is_code
from intake.proposal.questions import Ask, Question
from intake.proposal.seen_column import SeenColumn
from intake.proposal.seen_table import SeenTable, belongs_to, is_of_one_row

_MOST_TYPES = 20
_MOST_LEVELS = 21


@dataclass(frozen=True)
class EventColumns:
    """Their names of the columns of a log; None where it has none.

    Attributes
    ----------
    truth : a column of true and false, or of 0 and 1, that says whether an event is a liked one
    """

    user: str
    item: str
    time: str
    value: str | None
    truth: str | None
    event_type: str | None
    event_id: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """Their names of the columns that have a part in an event."""
        found = (self.user, self.item, self.time, self.value, self.event_type, self.event_id)
        return tuple(name for name in found if name is not None)

    def mapping(self) -> dict[str, str]:
        """Our name = their name, where they differ."""
        pairs = {
            "user_id": self.user,
            "item_id": self.item,
            "event_timestamp": self.time,
            "value": self.value,
            "event_type": self.event_type,
            "event_id": self.event_id,
        }
        return {ours: theirs for ours, theirs in pairs.items() if theirs and theirs != ours}


def find_event_columns(
    table: SeenTable, links: dict[str, list[SeenTable]], ask: Ask
) -> EventColumns:
    """The columns of a log by content and name; user and item are asked where both leave a choice.

    Parameters
    ----------
    links : tables that have the values of a column, by the name of the column

    Raises
    ------
    SchemaError
        The table has no time, or fewer than two columns that identify something.
    """
    columns = [*table.columns.values()]
    time = _time(columns)
    ids = [each for each in columns if each.can_be_id and each.name != time]
    if time is None or len(ids) < 2:
        raise no_events([table])
    item = _choose("item", ids, lambda each: _item_score(each, links), ask, table)
    rest = [each for each in ids if each.name != item]
    of_items = links.get(item, [])
    of_users = {
        name: [each for each in found if not any(each is other for other in of_items)]
        for name, found in links.items()
    }
    user = _choose("user", rest, lambda each: _user_score(each, of_users), ask, table)
    left = [each for each in columns if each.name not in (user, item, time)]
    truth = _named("truth", (each for each in left if _has_two(each)))
    left = [each for each in left if each.name != truth]
    value = _named("value", (each for each in left if each.kind == "number"))
    if value is None and truth is None:
        value = next((e.name for e in left if _is_unnamed_level(e)), None)
    types = (e.name for e in left if _is_type(e) and not belongs_to(table, e.name, item))
    event_type = next(types, None)
    event_id = _named("event", (each for each in left if is_of_one_row(table, each)))
    return EventColumns(user, item, time, value, truth, event_type, event_id)


def no_events(tables: Sequence[SeenTable]) -> SchemaError:
    """The error that no table is a log of events."""
    return schema_error(
        ", ".join(table.label for table in tables),
        got=f"tables with the columns {[[*table.columns] for table in tables]}",
        expected="a table of events: one column of times, and one each of users and items",
        remedy="Name the file of events too; where its times have an unusual form, write a "
        "dataset.toml by hand, with time = {format = ...}.",
    )


def _time(columns: Sequence[SeenColumn]) -> str | None:
    times = [each for each in columns if each.kind == "time"]
    times.sort(key=lambda each: (-hint_of(each.name, "time"), each.n_null))
    return times[0].name if times else None


def _named(role: str, columns: Iterable[SeenColumn]) -> str | None:
    """The column whose name says the role most clearly; None where no name says it."""
    best = max(columns, key=lambda each: hint_of(each.name, role), default=None)
    return best.name if best is not None and hint_of(best.name, role) else None


def _choose(
    role: str,
    found: Sequence[SeenColumn],
    score: Callable[[SeenColumn], float],
    ask: Ask,
    table: SeenTable,
) -> str:
    ranked = sorted(found, key=score, reverse=True)
    best, *others = ranked
    if score(best) >= 4 and (not others or score(best) - score(others[0]) >= 1):
        return best.name
    shown = "; ".join(f"{e.name}: {', '.join(e.examples)}" for e in ranked)
    words = f"Which column of {table.label} is the {role}? ({shown})"
    return ask(Question(words, best.name, [each.name for each in ranked]))


def _item_score(column: SeenColumn, links: dict[str, list[SeenTable]]) -> float:
    """Names count most; then a table that describes it; then that it repeats and is many."""
    score = _name_score(column, "item") - _name_score(column, "user")
    score += 3.0 * any(_describes(table) for table in links.get(column.name, ()))
    score += 1.0 * (not column.is_unique) + column.n_distinct / (column.n + 1)
    score -= 2.0 * column.n_null / (column.n + 1)
    return score - 2.0 * (hint_of(column.name, "event") > 0)


def _user_score(column: SeenColumn, links: dict[str, list[SeenTable]]) -> float:
    score = _name_score(column, "user") - _name_score(column, "item")
    score += 2.0 * bool(links.get(column.name)) + 1.0 * (not column.is_unique)
    score -= 2.0 * column.n_null / (column.n + 1)
    score += 0.5 * (column.kind == "text") - column.n_distinct / (column.n + 1)
    score -= 3.0 * (column.n_distinct < 10) + 2.0 * (hint_of(column.name, "event") > 0)
    return score - 1.0 * (is_code(column.name) and not hint_of(column.name, "user"))


def _name_score(column: SeenColumn, role: str) -> float:
    """A clear name is told from a vague one without a question."""
    return {0: 0.0, 1: 4.0, 2: 5.5}[hint_of(column.name, role)]


def _describes(table: SeenTable) -> bool:
    return any(each.kind == "text" and each.words >= 1.5 for each in table.columns.values())


def _has_two(column: SeenColumn) -> bool:
    return column.kind == "truth" or (column.kind == "number" and column.n_distinct == 2)


def _is_unnamed_level(column: SeenColumn) -> bool:
    is_level = column.kind == "number" and 2 < column.n_distinct <= _MOST_LEVELS
    return column.name.startswith("column_") and is_level


def _is_type(column: SeenColumn) -> bool:
    is_few = 1 < column.n_distinct <= _MOST_TYPES and column.kind in ("text", "number")
    is_unnamed = column.name.startswith("column_") and column.kind == "text"
    return is_few and (hint_of(column.name, "type") > 0 or is_unnamed)
