"""What a writer says of a text: attributes of allowed values, of free words, of free text."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Attributes:
    """The attributes of a text, in the order in which they are written.

    Attributes
    ----------
    choices : by attribute its allowed values, one of which is chosen
    words : by attribute how many words or short phrases it has at most
    texts : by attribute how many words its text has at most
    """

    choices: Mapping[str, tuple[str, ...]]
    words: Mapping[str, int]
    texts: Mapping[str, int] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all attributes."""
        return (*self.choices, *self.words, *self.texts)

    def describe(self) -> str:
        """One line for each attribute, as a prompt has them.

        >>> print(Attributes({"mood": ("light", "dark")}, {"themes": 3}).describe())
        - mood: one of "light", "dark"
        - themes: a list of at most 3 words
        """
        lines = [f"- {name}: one of {_quoted(values)}" for name, values in self.choices.items()]
        lines += [f"- {name}: a list of at most {n} words" for name, n in self.words.items()]
        lines += [f"- {name}: a text of at most {n} words" for name, n in self.texts.items()]
        return "\n".join(lines)

    def json_schema(self) -> dict[str, Any]:
        """The JSON schema of an answer, which a server can be held to."""
        properties: dict[str, Any] = {
            name: {"type": "string", "enum": list(values)} for name, values in self.choices.items()
        }
        properties |= {
            name: {"type": "array", "items": {"type": "string"}, "maxItems": n}
            for name, n in self.words.items()
        }
        properties |= {name: {"type": "string"} for name in self.texts}
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }


def _quoted(values: Iterable[str]) -> str:
    return ", ".join(f'"{value}"' for value in values)
