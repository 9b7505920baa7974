"""The name that was meant by one that does not exist."""

from collections.abc import Iterable
from difflib import get_close_matches

from intake.name_hints import plain

_LEAST_LIKENESS = 0.7


def near_name(name: str, known: Iterable[str]) -> str | None:
    """The known name that is spelt most like `name`; None where none is near.

    Capitals, accents and what stands between words make no difference.

    Examples
    --------
    >>> near_name("catagorical", ["numeric", "categorical"]), near_name("userId", ["user_id"])
    ('categorical', 'user_id')
    >>> near_name("pages", ["price", "isbn"]) is None
    True
    """
    by_plain = {plain(each): each for each in known}
    found = get_close_matches(plain(name), by_plain, n=1, cutoff=_LEAST_LIKENESS)
    return by_plain[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question for a message, with a space before it; empty where no name is near."""
    near = near_name(name, known)
    return f" Did you mean {near!r}?" if near is not None else ""
