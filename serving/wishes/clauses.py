"""The clauses of a query: what it wants, and what it refuses."""

import re
from dataclasses import dataclass

from serving.answers import Sense
from serving.wishes.words import words_of

# "not violent", "without robots", "anything but horror", "dairy-free": refused up to the next stop
# or "but". An encoder of sentences does not read the "not".
_NEGATION = (
    r"(?:not|no|without|except(?:\s+for)?|excluding|other\s+than|anything\s+but|nothing(?!\s+but)|avoid|never"
    r"|\w+n['\u2019]t)"
)
_REFUSED = re.compile(
    rf"\b(?:{_NEGATION}\s+(?P<after>[^,.;:!?]+?)(?=[,.;:!?]|\bbut\b|\b{_NEGATION}\s|$)"
    r"|non-(?P<whole>\w+)|(?P<before>\w+)-free\b)",
    re.IGNORECASE,
)
# Behind what is refused, such a word begins what is wanted: "not violent, for children" without its
# comma. Right behind the negation it belongs to what is refused: "no films by Hitchcock".
_RESUMED = frozenset(("for", "with", "by", "starring", "directed"))


@dataclass(frozen=True)
class Clause:
    """Part of a query."""

    text: str
    sense: Sense


def split_clauses(text: str) -> list[Clause]:
    """What a text wants, if anything, and then what it refuses.

    Examples
    --------
    >>> [(each.text, each.sense) for each in split_clauses("a comedy, not too violent for kids")]
    [('a comedy, for kids', 'wanted'), ('too violent', 'refused')]
    """
    wanted, refused, end = [], [], 0
    for found in _REFUSED.finditer(text):
        scope, resumed = _resume(found["after"] or found["whole"] or found["before"])
        if all(word.is_empty for word in words_of(scope)):
            continue
        refused.append(Clause(scope, "refused"))
        wanted += [text[end : found.start()], resumed]
        end = found.end()
    rest = " ".join("".join([*wanted, text[end:]]).split()).strip(" ,.;:!?")
    return [*([Clause(rest, "wanted")] if rest else []), *refused]


def _resume(scope: str) -> tuple[str, str]:
    """What is refused, and what is wanted again behind it."""
    pieces = re.split(r"(\s+)", scope)
    for at, piece in enumerate(pieces):
        before = "".join(pieces[:at])
        if piece.casefold() in _RESUMED and not all(word.is_empty for word in words_of(before)):
            return before.strip(), "".join(pieces[at:])
    return scope.strip(), ""
