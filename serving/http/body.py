"""What the bodies of requests are made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from serving.filters.filter_text import MAX_CHARACTERS

MAX_N = 500
MAX_ID_CHARACTERS = 512
MAX_TEXT_CHARACTERS = 4_096
MAX_CONTEXT = 64

Identifier = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_CHARACTERS)]
Text = Annotated[str, StringConstraints(pattern=r"\S", max_length=MAX_TEXT_CHARACTERS)]
Filter = Annotated[
    str | None,
    Field(
        max_length=MAX_CHARACTERS,
        description="Only items of which this is true, such as: year < 1980 and 'Comedy' in genres",
    ),
]
QueryText = Annotated[
    Text | None,
    Field(
        description="What the user is looking for, in words, such as: a comedy from the 90s, not "
        "violent. `understood` of the answer has the values of columns that it was taken to name.",
    ),
]
Count = Annotated[int, Field(ge=1, le=MAX_N)]
Share = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


Context = Annotated[
    dict[Identifier, bool | int | Finite | Text | None] | None,
    Field(
        default=None,
        max_length=MAX_CONTEXT,
        description="What is around it, by the columns of [interactions.context] of the data set.",
    ),
]


class Body(BaseModel):
    """A misspelt key is an error: what it meant would silently be left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")
