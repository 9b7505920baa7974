"""What cannot be known from files is asked; each question has a default."""

from collections.abc import Callable, Sequence
from typing import NamedTuple


class Question(NamedTuple):
    """A question in words, its default answer, and the answers that can be; empty: any."""

    words: str
    default: str
    choices: Sequence[str] = ()
    is_number: bool = False


Ask = Callable[[Question], str]


def take_defaults(question: Question) -> str:
    """The default of every question."""
    return question.default
