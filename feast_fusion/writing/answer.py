"""From the text that a writer answered to the values of the attributes; what is unfit is named."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from feast_fusion.writing.attributes import Attributes
from feast_fusion.writing.json_repair import read_json_answer

Value = str | list[str] | None

_LONGEST_WORD = 40  # letters of a word or short phrase
_AROUND = " \t\n\"'`.,;:[]{}()"


@dataclass(frozen=True)
class Answer:
    """What was written of one text.

    Attributes
    ----------
    values : by attribute; None where nothing usable was written
    rejects : for each attribute without a value what was written, in words
    """

    values: dict[str, Value]
    rejects: tuple[str, ...] = ()

    @classmethod
    def empty(cls, attributes: Attributes) -> "Answer":
        """Of a text that is blank, about which nobody is asked."""
        return cls(dict.fromkeys(attributes.names))


def read_answer(text: str, attributes: Attributes) -> Answer:
    """The values in an answer, each repaired where it can be, else rejected alone.

    A choice counts whatever its case and the marks around it. Words are in small letters, each
    once; those too long to be words are left out. A text is in one line and cut to its words; where
    nothing but a text is asked for, the bare answer is one too.

    >>> read_answer('{"mood": "DARK."}', Attributes({"mood": ("light", "dark")}, {})).values
    {'mood': 'dark'}
    """
    found = read_json_answer(text)
    given: dict[str, Any] = found if isinstance(found, dict) else {}
    values: dict[str, Value] = {}
    for name, allowed in attributes.choices.items():
        values[name] = _choice(given.get(name), allowed)
    for name, n in attributes.words.items():
        values[name] = _words(given.get(name), n)
    for name, n in attributes.texts.items():
        is_bare = found is None and attributes.names == (name,)
        values[name] = _text(text if is_bare else given.get(name), n)
    rejects = [
        f"{name}: {_shown(given.get(name, text))}"
        for name, value in values.items()
        if value is None
    ]
    return Answer(values, tuple(rejects))


def _choice(written: Any, allowed: Sequence[str]) -> str | None:
    if isinstance(written, list) and len(written) == 1:
        written = written[0]
    if not isinstance(written, str):
        return None
    by_name = {value.casefold(): value for value in allowed}
    return by_name.get(written.casefold().strip()) or by_name.get(written.casefold().strip(_AROUND))


def _words(written: Any, n: int) -> list[str] | None:
    if isinstance(written, str):
        written = written.split(",")
    if not isinstance(written, list):
        return None
    return list(_distinct(written))[:n] or None


def _text(written: Any, n: int) -> str | None:
    return " ".join(written.split()[:n]) or None if isinstance(written, str) else None


def _distinct(written: Iterable[Any]) -> dict[str, None]:
    words = (" ".join(str(word).casefold().strip(_AROUND).split()) for word in written)
    return dict.fromkeys(word for word in words if 0 < len(word) <= _LONGEST_WORD)


def _shown(written: Any) -> str:
    return repr(written if len(str(written)) <= 60 else f"{str(written)[:60]}...")
