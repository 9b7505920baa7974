"""Which columns of items or users are features, and of what kind."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from intake.proposal.name_hints import hints_at, is_code, is_counted
from intake.proposal.seen_column import SeenColumn

_MOST_CATEGORIES = 2_000
_IN_TEXT = 6
_LONG_WORDS = 6.0


@dataclass(frozen=True)
class Features:
    """What is proposed of the columns of a table.

    Attributes
    ----------
    title : None where no column names an item
    long_texts : descriptions, for the text alone
    lists : columns with several values in a field, and what stands between them
    left_out : columns that are no features, and why
    """

    title: str | None
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    long_texts: tuple[str, ...]
    lists: dict[str, str]
    left_out: dict[str, str] = field(default_factory=dict)

    def template(self, title: str) -> str:
        """The text of an item: its title, some categories by name, its descriptions."""
        parts = [f"{{{self.title or title}}}"]
        for name in self.categorical[:_IN_TEXT]:
            label = name.replace("_", " ").replace("{", "").replace("}", "").strip().capitalize()
            parts.append(f"{label}: {{{name}}}")
        parts += [f"{{{name}}}" for name in self.long_texts[:2]]
        return ". ".join(parts) + "."


def find_features(columns: Sequence[SeenColumn], *, with_title: bool) -> Features:
    """The features among the columns, which are those of a table but for its key and time."""
    title = _title(columns) if with_title else None
    numeric, categorical, texts = [], [], []
    lists, left_out = {}, {}
    for each in columns:
        if each.name == title:
            continue
        reason = _reason_against(each)
        if not with_title and hints_at(each.name, "title"):
            reason = reason or "names of people"
        if reason is not None:
            left_out[each.name] = reason
        elif each.kind == "number" and not is_code(each.name):
            numeric.append(each.name)
        elif each.kind == "text" and each.mark is None and each.words > _LONG_WORDS:
            if with_title:
                texts.append(each.name)
            else:
                left_out[each.name] = "long texts"
        else:
            categorical.append(each.name)
            if each.mark is not None:
                lists[each.name] = each.mark
    return Features(title, tuple(numeric), tuple(categorical), tuple(texts), lists, left_out)


def _title(columns: Sequence[SeenColumn]) -> str | None:
    """A text that nearly every item has for itself: by its name, or the most distinct short one."""
    texts = [each for each in columns if each.kind == "text" and each.characters < 200]
    named = [each for each in texts if hints_at(each.name, "title")]
    distinct = [e for e in texts if e.n_distinct > 0.5 * e.n and e.words >= 1.2 and not _is_url(e)]
    ranked = sorted(named or distinct, key=lambda each: each.n_distinct, reverse=True)
    return ranked[0].name if ranked else None


def _reason_against(column: SeenColumn) -> str | None:
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
        return "it may be counted over events that training must not see yet"
    if _is_url(column):
        return "addresses"
    is_long = column.kind == "text" and column.words > _LONG_WORDS
    is_name = column.kind == "text" or (column.kind == "number" and is_code(column.name))
    if is_name and not is_long and column.mark is None and _is_almost_an_id(column):
        return "a value of its own in most rows"
    return None


def _is_url(column: SeenColumn) -> bool:
    return any("://" in each for each in column.examples)


def _is_almost_an_id(column: SeenColumn) -> bool:
    n_known = column.n - column.n_null
    return column.n_distinct > min(_MOST_CATEGORIES, max(20.0, 0.7 * n_known))
