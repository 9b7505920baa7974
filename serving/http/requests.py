"""The bodies that the service accepts; a body past a limit is refused by the field's name."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)

from serving.http.answer_options import ObjectiveBody, SessionBody, VarietyBody
from serving.http.body import Body, Context, Count, Filter, Finite, Identifier, QueryText, Text

MAX_ITEM_IDS = 1_000
MAX_EXCLUDE = 10_000
MAX_EVENTS = 1_000
MAX_INPUTS = 64
MAX_WAIT_MS = 2_000
MAX_ROWS = 1_000
MAX_CHANGES = 256


class RecommendRequest(VarietyBody, SessionBody):
    """Top n of the catalogue for one user."""

    user_id: Identifier
    n: Count = 10
    query: QueryText = None
    filter: Filter = None
    exclude: list[Identifier] = Field(
        default_factory=list, max_length=MAX_EXCLUDE, description="Items never to answer with."
    )
    explain: bool = Field(default=False, description="Say per item why it is there.")
    debug: bool = Field(
        default=False, description="Also say what each signal adds, and facts of the item."
    )
    context: Context = None
    objective: ObjectiveBody = ObjectiveBody()
    model: Identifier | None = Field(
        default=None,
        description="A version that is promoted or the shadow, see /status; left out: the user's.",
    )


class RankRequest(SessionBody):
    """The order of given items for one user."""

    user_id: Identifier
    item_ids: list[Identifier] = Field(min_length=1, max_length=MAX_ITEM_IDS)
    query: QueryText = None
    explain: bool = Field(default=False, description="Say per item why it is there.")
    debug: bool = Field(
        default=False, description="Also say what each signal adds, and facts of the item."
    )
    context: Context = None


class SimilarRequest(Body):
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


class EventBody(Body):
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


class EventsRequest(Body):
    """Interactions that happened."""

    events: list[_RawEvent] = Field(min_length=1, max_length=MAX_EVENTS)
    wait_ms: int = Field(
        default=0,
        ge=0,
        le=MAX_WAIT_MS,
        description="How long to wait until recommendations follow them, at most "
        f"{MAX_WAIT_MS:,} ms; 0: durable is enough.",
    )


_Wait = Annotated[
    int,
    Field(
        ge=0,
        le=MAX_WAIT_MS,
        description=f"How long to wait until answers follow, at most {MAX_WAIT_MS:,} ms; 0: "
        "durable is enough.",
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


class ItemsRequest(Body):
    """Items that are new, or have changed."""

    items: list[_RawItem] = Field(min_length=1, max_length=MAX_ROWS)
    wait_ms: _Wait = 0


class UsersRequest(Body):
    """Users that are new, or have changed."""

    users: list[_RawUser] = Field(min_length=1, max_length=MAX_ROWS)
    wait_ms: _Wait = 0


class ChangesRequest(Body):
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
