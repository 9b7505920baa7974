"""The slow, obviously right point-in-time join: one loop over labels, one over feature rows.

Shares no code with the store. Times are whole nanoseconds since the epoch, or None. The store
counts microseconds: a label's time is rounded down and a feature's up, so nothing is seen before
it happened.
"""

from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """What a label may see: `ttl_us` 0 is no bound."""

    ttl_us: int
    filter_by_created_timestamp: bool
    strictly_before: bool


def newest_row(label: Row, rows: list[Row], keys: dict[str, str], rule: Rule) -> Row | None:
    """The row that `label` sees, or None. `keys` maps a column of `rows` to one of `label`."""
    if label["event_timestamp"] is None or any(label[name] is None for name in keys.values()):
        return None
    at = label["event_timestamp"] // 1000
    best: Row | None = None
    for row in rows:  # in file order, so that a later row replaces one it ties with
        if any(row[column] != label[name] for column, name in keys.items()):
            continue
        if not _is_seen(row, at, rule):
            continue
        if best is None or _age(row) >= _age(best):
            best = row
    return best


def _is_seen(row: Row, at: int, rule: Rule) -> bool:
    happened = row["event_timestamp"]
    if happened is None:
        return False
    happened = _rounded_up(happened)
    if happened > at or (rule.strictly_before and happened == at):
        return False
    if rule.ttl_us and happened < at - rule.ttl_us:
        return False
    if rule.filter_by_created_timestamp and "created" in row:
        return row["created"] is not None and _rounded_up(row["created"]) <= at
    return True


def _age(row: Row) -> tuple[int, float]:
    created = row.get("created")
    return (
        _rounded_up(row["event_timestamp"]),
        float("-inf") if created is None else _rounded_up(created),
    )


def _rounded_up(nanoseconds: int) -> int:
    return -(-nanoseconds // 1000)
