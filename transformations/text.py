"""Row -> text: item texts by a template, behaviour texts by a token budget. Pure.

`TEMPLATE_VERSION` is part of every `encoder_id`. Raise it when a function of this module or of
`cleaning` gives another text for the same input, so that old and new vectors never meet.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from feast_fusion.errors import schema_error
from intake.text_template import PLACEHOLDER, placeholders

TEMPLATE_VERSION = 1

CountTokens = Callable[[Sequence[str]], list[int]]

# A placeholder once its column has a number: a name may have full stops and brackets in it.
_NUMBERED = re.compile(r"\{(\d+)\}")
# A Latin stop ends a clause before white space only, so that "v1.5" and "{a}/{b}.x" stay whole.
_SENTENCE = re.compile(r".+?(?:[.!?;](?=\s|$)|[。！？；]+|$)\s*", re.DOTALL)  # noqa: RUF001
_GROUP = re.compile(r"(\s*[(（][^()（）]*[)）])")  # noqa: RUF001
_LIKED_SHARE = 0.75


@dataclass(frozen=True)
class _Segment:
    """Literals and column numbers in turn, a literal first; a group in brackets may be left out."""

    parts: tuple[str, ...]
    is_group: bool

    @property
    def columns(self) -> tuple[str, ...]:
        return self.parts[1::2]

    def fill(self, values: Mapping[str, str]) -> str | None:
        if not all(values[column] for column in self.columns):
            return None
        return "".join(values[part] if at % 2 else part for at, part in enumerate(self.parts))


_Clause = tuple[_Segment, ...]


def render_items(template: str, items: pa.Table) -> list[str]:
    """The text of each row; a clause whose column is null is left out, "" when all are.

    A clause ends with its full stop (also `!`, `?`, `;` and the Chinese ones); a group in brackets
    is a clause of its own. Null are null, NaN, blank strings and empty lists. Integral floats print
    as integers, lists joined with ", ".

    Raises
    ------
    SchemaError
        The template names a column that the table does not have.

    Examples
    --------
    >>> films = pa.table({"title": ["Heat"], "year": [1995.0], "director": pa.nulls(1)})
    >>> render_items("{title} ({year}). By {director}.", films)
    ['Heat (1995).']
    """
    columns = placeholders(template)
    numbered = PLACEHOLDER.sub(lambda found: f"{{{columns.index(found[1])}}}", template)
    clauses = tuple(_parse_clause(piece) for piece in _SENTENCE.findall(numbered))
    missing = [column for column in columns if column not in items.column_names]
    if missing:
        raise schema_error(
            f"text template {template!r}",
            got=f"columns {sorted(items.column_names)}",
            expected=f"also {', '.join(missing)}",
            remedy="Correct [items] text, or add the column.",
        )
    if not columns:
        return [_render(clauses, {})] * len(items)
    numbers = [str(number) for number in range(len(columns))]
    formatted = [map(_format, items[column].to_pylist()) for column in columns]
    return [
        _render(clauses, dict(zip(numbers, values, strict=True)))
        for values in zip(*formatted, strict=True)
    ]


def _parse_clause(piece: str) -> _Clause:
    return tuple(
        _Segment(tuple(_NUMBERED.split(text)), bool(at % 2) and bool(_NUMBERED.search(text)))
        for at, text in enumerate(_GROUP.split(piece))
        if text
    )


def _render(clauses: Sequence[_Clause], values: Mapping[str, str]) -> str:
    return "".join(_fill(clause, values) for clause in clauses).strip()


def _fill(clause: _Clause, values: Mapping[str, str]) -> str:
    filled = [segment.fill(values) for segment in clause]
    if any(
        text is None and not segment.is_group for text, segment in zip(filled, clause, strict=True)
    ):
        return ""
    return "".join(text for text in filled if text is not None).lstrip()


def _format(value: object) -> str:
    """The value as text; "" stands for null."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list):
        return ", ".join(text for text in map(_format, value) if text)
    if value is None or value != value:
        return ""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def render_behaviours(
    liked: Sequence[Sequence[str]],
    disliked: Sequence[Sequence[str]],
    *,
    max_tokens: int,
    count_tokens: CountTokens,
    n_special_tokens: int = 2,
) -> list[str]:
    """The behaviour text of each row, never above `max_tokens` with its special tokens.

    Titles are taken whole, most recent first; liked ones have three quarters of the budget where
    both kinds exist, and either kind takes what the other leaves. Only a title that does not fit
    alone is cut. Blank titles are left out; a row without titles gives "".

    `count_tokens` is called once on the distinct titles and once on the rendered texts, because a
    tokenizer may split a whole text otherwise than its parts.
    """
    rows = [(_present(a), _present(b)) for a, b in zip(liked, disliked, strict=True)]
    titles = list(dict.fromkeys(title for row in rows for kind in row for title in kind))
    heads = ["liked", " disliked"]
    counts = count_tokens([*heads, *(f" {title};" for title in titles)])
    cost = dict(zip(titles, counts[2:], strict=True))
    room = max_tokens - n_special_tokens
    chosen = [_choose(a, b, cost, (counts[0], counts[1]), room) for a, b in rows]
    texts = [_join(a, b) for a, b in chosen]
    for row, count in enumerate(count_tokens(texts)):
        if count > room:
            texts[row] = _shrink(*chosen[row], room, count_tokens)
    return texts


def _present(titles: Sequence[str]) -> list[str]:
    return [title for title in titles if title and not title.isspace()]


def _choose(
    liked: list[str],
    disliked: list[str],
    cost: Mapping[str, int],
    heads: tuple[int, int],
    room: int,
) -> tuple[list[str], list[str]]:
    """The most recent titles of each kind that fit together; at least one where there is one."""
    room -= heads[0] * bool(liked) + heads[1] * bool(disliked)
    share = int(room * _LIKED_SHARE) if liked and disliked else room
    n_liked, spare_of_liked = _fit(liked, cost, 0, share)
    n_disliked, spare = _fit(disliked, cost, 0, room - share)
    n_liked, spare = _fit(liked, cost, n_liked, spare_of_liked + spare)
    n_disliked, _ = _fit(disliked, cost, n_disliked, spare)
    if n_liked + n_disliked == 0:
        return (liked[:1], []) if liked else ([], disliked[:1])
    return liked[:n_liked], disliked[:n_disliked]


def _fit(titles: Sequence[str], cost: Mapping[str, int], start: int, room: int) -> tuple[int, int]:
    """How many titles fit when continuing at `start`, and the room that is left."""
    for at in range(start, len(titles)):
        if cost[titles[at]] > room:
            return at, room
        room -= cost[titles[at]]
    return len(titles), room


def _join(liked: Sequence[str], disliked: Sequence[str]) -> str:
    kinds = (("liked", liked), ("disliked", disliked))
    return " ".join(f"{name} {'; '.join(titles)}." for name, titles in kinds if titles)


def _shrink(liked: list[str], disliked: list[str], room: int, count_tokens: CountTokens) -> str:
    """Drop the oldest titles, then cut the last one, until the text fits."""
    liked, disliked = list(liked), list(disliked)
    while liked or disliked:
        text = _join(liked, disliked)
        count = count_tokens([text])[0]
        if count <= room:
            return text
        longer = disliked if len(disliked) >= len(liked) else liked
        title = longer.pop()
        if not liked and not disliked:
            keep = min(len(title) - 1, len(title) * max(room, 0) // count)
            longer += _present([title[:keep].rstrip()])
    return ""
