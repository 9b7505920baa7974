"""The years that a text names: "before 1980", "from the 90s", "1950 to 1959", "old"."""

import re
from dataclasses import dataclass

_YEAR = r"((?:1[0-9]|20)\d\d)"
_DECADES = ("twenties", "thirties", "forties", "fifties", "sixties", "seventies", "eighties")
_NAMED = {name: 1920 + 10 * at for at, name in enumerate((*_DECADES, "nineties"))}
_UNTIL = "before|until|till|up to|prior to|earlier than|older than|no later than"
_SINCE = "after|since|later than|newer than|younger than"
_LEAD = r"(?:\b(?:from|in|of|between)\s+)?(?:\bthe\s+)?(?:\byears?\s+)?"
_SPAN = re.compile(
    rf"\b(?P<until>{_UNTIL})\s+{_YEAR}\b"
    rf"|\b(?P<since>{_SINCE})\s+{_YEAR}\b"
    rf"|{_LEAD}\b{_YEAR}\s*(?:-|\u2013|to|and|until)\s*{_YEAR}\b"
    rf"|{_LEAD}(?:\b|['\u2019])((?:1[0-9]|20)?\d0)['\u2019]?s\b"
    rf"|{_LEAD}\b({'|'.join(_NAMED)})\b"
    rf"|{_LEAD}\b{_YEAR}\b"
    r"|\b(?P<old>old|older|old-fashioned)\b",
    re.IGNORECASE,
)
_INCLUSIVE = frozenset(("until", "till", "up to", "since", "no later than"))


@dataclass(frozen=True)
class YearSpan:
    """Years from first to last, both included; None: without an end there.

    Attributes
    ----------
    is_old : the earliest quarter of what there is, whatever its years
    """

    first: int | None
    last: int | None
    is_old: bool = False


def read_years(text: str) -> tuple[list[YearSpan], str]:
    """The spans that a text names, and the text without them.

    Examples
    --------
    >>> read_years("a comedy from the 90s")
    ([YearSpan(first=1990, last=1999, is_old=False)], 'a comedy  ')
    """
    spans = [_span(found) for found in _SPAN.finditer(text)]
    return spans, _SPAN.sub(" ", text)


def _span(found: re.Match[str]) -> YearSpan:
    until, until_year, since, since_year, first, last, decade, named, year, old = found.groups()
    if old:
        return YearSpan(None, None, is_old=True)
    if until:
        return YearSpan(None, int(until_year) - (until.casefold() not in _INCLUSIVE))
    if since:
        return YearSpan(int(since_year) + (since.casefold() not in _INCLUSIVE), None)
    if first:
        return YearSpan(min(int(first), int(last)), max(int(first), int(last)))
    if year:
        return YearSpan(int(year), int(year))
    begin = _NAMED[named.casefold()] if named else int(decade if len(decade) > 2 else f"19{decade}")
    return YearSpan(begin, begin + 9)
