"""`[writer]`: the language model that writes of items and users, and what."""

from collections import Counter
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo, model_validator

from intake.model_settings import Section
from intake.server_settings import WriterServer

Name = Annotated[str, StringConstraints(pattern=r"^[a-z](_?[a-z0-9])*$")]
Texts = tuple[Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)], ...]

PORTRAIT = "portrait"  # the feature that has the text

_PROMPT = """Describe {what} by a JSON object with these keys:
{{attributes}}

{name}: {{text}}
JSON:"""
_OF_ITEMS = _PROMPT.format(what="an item", name="Item")
_OF_USERS = _PROMPT.format(what="a person, by what the person chose,", name="Person")


def _require_text(prompt: str) -> str:
    if "{text}" not in prompt:
        raise ValueError("it has no {text}, where the text stands")
    return prompt


Prompt = Annotated[str, AfterValidator(_require_text)]


class Asked(Section):
    """What is asked about a text.

    Attributes
    ----------
    choices : by attribute its allowed values, one of which the model chooses, such as
        {mood = ["light", "dark"]}
    words : by attribute how many words the model writes at most, such as {themes = 4}
    max_characters : of a text that the model reads
    """

    choices: dict[Name, Texts] = Field(default_factory=dict)
    words: dict[Name, Annotated[int, Field(ge=1, le=20)]] = Field(default_factory=dict)
    max_characters: Annotated[int, Field(ge=16)] = 2000

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the attributes, which are categories."""
        return (*self.choices, *self.words)

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        both = sorted(self.choices.keys() & self.words.keys())
        if both:
            raise ValueError(f"{both[0]} is among choices and words; leave it in one of them")
        for name, values in self.choices.items():
            if len({value.casefold() for value in values}) < max(2, len(values)):
                raise ValueError(f"choices of {name} need two values or more, each another")
        return self


class UserWriter(Asked):
    """`[writer.user]`: portraits of users, written of what each liked and disliked until then.

    Attributes
    ----------
    portrait_words : the most words of a portrait
    prompt : what the model is given; {text} is what the user did, {attributes} what is asked
    """

    portrait_words: Annotated[int, Field(ge=1, le=500)] = 40
    prompt: Prompt = _OF_USERS

    @model_validator(mode="after")
    def _leaves_the_name(self) -> Self:
        if PORTRAIT in self.attributes:
            raise ValueError(f"{PORTRAIT} is the text itself; call the attribute otherwise")
        return self


class WriterConfig(Asked):
    """`[writer]`: a language model that writes attributes of items, which are then categories.

    Attributes
    ----------
    model : a GGUF file, a folder, a name on the Hugging Face hub, or the name that a server knows
    server : where the model does not run here
    user : what it writes of users
    prompt : what the model is given; {text} is the text of the item, {attributes} what is asked
    in_text : attributes that join the text of the item which is encoded
    """

    model: str
    server: WriterServer | None = None
    user: UserWriter | None = None
    prompt: Prompt = _OF_ITEMS
    in_text: tuple[str, ...] = ()

    @property
    def place(self) -> dict[str, Any]:
        """What `describe_writer` takes of the model."""
        return {
            "model": self.model,
            "server": None if self.server is None else self.server.model_dump(),
        }

    @model_validator(mode="after")
    def _has_attributes(self) -> Self:
        if not self.attributes and self.user is None:
            raise ValueError('name what is written, such as choices = {mood = ["light", "dark"]}')
        unknown = sorted(set(self.in_text) - set(self.attributes))
        if unknown:
            raise ValueError(f"in_text has {unknown[0]}, which is not written; name it in choices")
        return self


def require_new_names(writer: WriterConfig | None, info: ValidationInfo) -> WriterConfig | None:
    """The writer, unless an attribute is called as another or as a column of items or users is."""
    if writer is None:
        return None
    tables = [info.data.get(name) for name in ("items", "users")]
    columns = {column for table in tables if table is not None for column in table.used_columns}
    written = Counter((*writer.attributes, *(writer.user.attributes if writer.user else ())))
    for name, count in written.items():
        if name in columns:
            raise ValueError(f"{name} is a column of the data set; call the attribute otherwise")
        if count > 1:
            raise ValueError(f"{name} is written of items and of users; call one of them otherwise")
    return writer
