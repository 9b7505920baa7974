"""What a writer says of a text: attributes of allowed values, and attributes of free words."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Attributes:
    """The attributes of a text, in the order in which they are written.

    Attributes
    ----------
    choices : by attribute its allowed values, one of which is chosen
    words : by attribute how many words or short phrases it has at most
    """

    choices: Mapping[str, tuple[str, ...]]
    words: Mapping[str, int]

    @property
    def names(self) -> tuple[str, ...]:
        """Of all attributes."""
        return (*self.choices, *self.words)

    def describe(self) -> str:
        """One line for each attribute, as a prompt has them.

        >>> print(Attributes({"mood": ("light", "dark")}, {"themes": 3}).describe())
        - mood: one of "light", "dark"
        - themes: a list of at most 3 words
        """
        lines = [f"- {name}: one of {_quoted(values)}" for name, values in self.choices.items()]
        lines += [f"- {name}: a list of at most {n} words" for name, n in self.words.items()]
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
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }


def _quoted(values: Iterable[str]) -> str:
    return ", ".join(f'"{value}"' for value in values)
