"""The bodies that the service accepts; a body past a limit is refused by the field's name."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    WithJsonSchema,
    model_validator,
)

from serving.filters.filter_text import MAX_CHARACTERS

MAX_N = 500
MAX_ITEM_IDS = 1_000
MAX_EXCLUDE = 10_000
MAX_EVENTS = 1_000
MAX_INPUTS = 64
MAX_ID_CHARACTERS = 512
MAX_TEXT_CHARACTERS = 4_096
MAX_WAIT_MS = 2_000
MAX_CONTEXT = 64
MAX_COLUMNS = 8
MAX_ROWS = 1_000
MAX_CHANGES = 256

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
ObjectiveWeight = Annotated[float, Field(ge=0, le=100)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


Context = Annotated[
    dict[Identifier, bool | int | Finite | Text | None] | None,
    Field(
        default=None,
        max_length=MAX_CONTEXT,
        description="What is around it, by the columns of [interactions.context] of the data set.",
    ),
]


class _Body(BaseModel):
    """A misspelt key is an error: what it meant would silently be left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class VarietyBody(_Body):
    """How the answer is spread; what is left out is as [variety] of the data set says."""

    diversity: Share | None = Field(
        default=None, description="0 for the ranker's order, towards 1 for texts that differ."
    )
    calibrated: dict[Identifier, Share] | None = Field(
        default=None,
        max_length=MAX_COLUMNS,
        description="By categorical column, 0 to 1: keep the proportions of what the user liked.",
    )
    max_per: dict[Identifier, Count] | None = Field(
        default=None,
        max_length=MAX_COLUMNS,
        description="By categorical column the most items that share a category.",
    )
    explore: Share | None = Field(
        default=None, description="Chance that a last place goes to an item of few events."
    )

    def variety(self) -> dict[str, Any]:
        """What it says of `[variety]`; None where it says nothing."""
        return {name: getattr(self, name) for name in VarietyBody.model_fields}


class ObjectiveBody(_Body):
    """What the order serves beside the next choice; left out: as [ranker] of the data set says."""

    satisfaction: ObjectiveWeight | None = Field(
        default=None, description="Weight of how likely an item is liked once chosen."
    )
    value: ObjectiveWeight | None = Field(
        default=None, description="Weight of what the events of an item are worth."
    )

    def weights(self) -> dict[str, float]:
        """Those that are given, by name."""
        return self.model_dump(exclude_none=True)


class RecommendRequest(VarietyBody):
    """Top n of the catalogue for one user."""

    user_id: Identifier
    n: Count = 10
    query: QueryText = None
    filter: Filter = None
    exclude: list[Identifier] = Field(
        default_factory=list, max_length=MAX_EXCLUDE, description="Items never to answer with."
    )
    explain: bool = Field(default=False, description="Say per item why it is there.")
    context: Context = None
    objective: ObjectiveBody = ObjectiveBody()
    model: Identifier | None = Field(
        default=None,
        description="A version that is promoted or the shadow, see /status; left out: the user's.",
    )


class RankRequest(_Body):
    """The order of given items for one user."""

    user_id: Identifier
    item_ids: list[Identifier] = Field(min_length=1, max_length=MAX_ITEM_IDS)
    query: QueryText = None
    explain: bool = Field(default=False, description="Say per item why it is there.")
    context: Context = None


class SimilarRequest(_Body):
    """The nearest items to one item or to a text: exactly one of the two."""

    item_id: Identifier | None = None
    text: Text | None = None
    n: Count = 10
    filter: Filter = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.item_id is None) == (self.text is None):
            raise ValueError("Expected exactly one of item_id and text")
        return self


class EventBody(_Body):
    """One interaction. Without an `event_id` a request that is sent again counts again."""

    model_config = ConfigDict(title="Event")

    user_id: Identifier
    item_id: Identifier
    event_timestamp: datetime = Field(description="With its zone, as 2026-01-31T12:00:00Z.")
    event_id: Identifier | None = Field(
        default=None, description="Yours; an id seen before is dropped."
    )
    value: Finite | None = Field(
        default=None, description="The rating, where the data set has ratings."
    )
    event_type: Identifier | None = None
    context: Context = None


# Described to clients, and checked by the intake, which rejects an event and not its whole batch.
_RawEvent = Annotated[Any, WithJsonSchema(EventBody.model_json_schema())]


class EventsRequest(_Body):
    """Interactions that happened."""

    events: list[_RawEvent] = Field(min_length=1, max_length=MAX_EVENTS)
    wait_ms: int = Field(
        default=0,
        ge=0,
        le=MAX_WAIT_MS,
        description="How long to wait until recommendations follow them; 0: durable is enough.",
    )


_Wait = Annotated[
    int,
    Field(
        ge=0,
        le=MAX_WAIT_MS,
        description="How long to wait until answers follow; 0: durable is enough.",
    ),
]


class _ItemBody(BaseModel):
    """A new version of an item: columns of the data set, those that are left out become null."""

    model_config = ConfigDict(title="Item", extra="allow")

    item_id: Identifier
    event_timestamp: datetime | None = Field(
        default=None, description="From when it holds, with its zone; left out: now."
    )


class _UserBody(BaseModel):
    """A new version of a user: columns of the data set, those that are left out become null."""

    model_config = ConfigDict(title="User", extra="allow")

    user_id: Identifier
    event_timestamp: datetime | None = Field(
        default=None, description="From when it holds, with its zone; left out: now."
    )


_RawItem = Annotated[Any, WithJsonSchema(_ItemBody.model_json_schema())]
_RawUser = Annotated[Any, WithJsonSchema(_UserBody.model_json_schema())]


class ItemsRequest(_Body):
    """Items that are new, or have changed."""

    items: list[_RawItem] = Field(min_length=1, max_length=MAX_ROWS)
    wait_ms: _Wait = 0


class UsersRequest(_Body):
    """Users that are new, or have changed."""

    users: list[_RawUser] = Field(min_length=1, max_length=MAX_ROWS)
    wait_ms: _Wait = 0


class ChangesRequest(_Body):
    """Columns that have changed."""

    changes: dict[Identifier, Any] = Field(min_length=1, max_length=MAX_CHANGES)
    wait_ms: _Wait = 0


_OneText = Annotated[Text, Tag("text")]
_Texts = Annotated[list[Text], Field(min_length=1, max_length=MAX_INPUTS), Tag("texts")]


def _kind_of_input(value: object) -> str:
    """Whether one text or several are meant, so that an error speaks of what was meant."""
    return "text" if isinstance(value, str) else "texts"


class EmbeddingsRequest(BaseModel):
    """The request of OpenAI's embeddings API; keys that mean nothing here are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    input: Annotated[_OneText | _Texts, Discriminator(_kind_of_input)]
    model: str | None = Field(
        default=None, description="A name of the encoder, see /v1/models; left out: the same."
    )
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(
        default=None,
        description="Numbers that are kept of each vector, the first ones, which then has length 1 "
        "again: for encoders that were trained for it (Matryoshka). Left out: all.",
    )

    @property
    def texts(self) -> list[str]:
        """`input` as a list."""
        return [self.input] if isinstance(self.input, str) else self.input
