"""`[writer]`: the language model that writes attributes of items, and which ones."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo, model_validator

from intake.model_settings import Section

Name = Annotated[str, StringConstraints(pattern=r"^[a-z](_?[a-z0-9])*$")]
Texts = tuple[Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)], ...]

DEFAULT_PROMPT = """Describe an item by a JSON object with these keys:
{attributes}

Item: {text}
JSON:"""


def _require_text(prompt: str) -> str:
    if "{text}" not in prompt:
        raise ValueError("it has no {text}, where the text of the item stands")
    return prompt


class WriterServer(Section):
    """`[writer.server]`: a server with OpenAI's chat-completions form that runs the model.

    Attributes
    ----------
    url : to which `/chat/completions` is added, such as "http://localhost:8080/v1"
    api_key_variable : environment variable that has the key; None: no key is sent
    n_parallel : requests under way at once
    timeout_s : for one answer
    n_attempts : at one request, the wait between them doubling
    json_schema : whether the server is told the JSON schema of an answer; false for a server that
        refuses it
    """

    url: Annotated[str, Field(pattern=r"^https?://")]
    api_key_variable: str | None = None
    n_parallel: Annotated[int, Field(ge=1)] = 4
    timeout_s: Annotated[float, Field(gt=0)] = 120.0
    n_attempts: Annotated[int, Field(ge=1)] = 7
    json_schema: bool = True


class WriterConfig(Section):
    """`[writer]`: a language model that writes attributes of items, which are then categories.

    Attributes
    ----------
    model : a GGUF file, a folder, a name on the Hugging Face hub, or the name that a server knows
    server : where the model does not run here
    choices : by attribute its allowed values, one of which the model chooses, such as
        {mood = ["light", "dark"]}
    words : by attribute how many words the model writes at most, such as {themes = 4}
    prompt : what the model is given; {text} is the text of the item, {attributes} what is asked
    max_characters : of the text of an item that the model reads
    """

    model: str
    server: WriterServer | None = None
    choices: dict[Name, Texts] = Field(default_factory=dict)
    words: dict[Name, Annotated[int, Field(ge=1, le=20)]] = Field(default_factory=dict)
    prompt: Annotated[str, AfterValidator(_require_text)] = DEFAULT_PROMPT
    max_characters: Annotated[int, Field(ge=16)] = 2000

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of all attributes."""
        return (*self.choices, *self.words)

    @property
    def options(self) -> dict[str, Any]:
        """What `describe_writer` takes beside the model and its attributes."""
        return {
            "prompt": self.prompt,
            "max_characters": self.max_characters,
            "server": None if self.server is None else self.server.model_dump(),
        }

    @model_validator(mode="after")
    def _has_attributes(self) -> Self:
        if not self.attributes:
            raise ValueError('name what is written, such as choices = {mood = ["light", "dark"]}')
        both = sorted(self.choices.keys() & self.words.keys())
        if both:
            raise ValueError(f"{both[0]} is among choices and words; leave it in one of them")
        for name, values in self.choices.items():
            if len({value.casefold() for value in values}) < max(2, len(values)):
                raise ValueError(f"choices of {name} need two values or more, each another")
        return self


def require_new_names(writer: WriterConfig | None, info: ValidationInfo) -> WriterConfig | None:
    """The writer, unless an attribute is called as a column of items or users is."""
    tables = [info.data.get(name) for name in ("items", "users")]
    columns = {column for table in tables if table is not None for column in table.used_columns}
    taken = sorted(columns.intersection(writer.attributes if writer is not None else ()))
    if taken:
        raise ValueError(f"{taken[0]} is a column of the data set; call the attribute otherwise")
    return writer
