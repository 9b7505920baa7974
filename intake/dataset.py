"""A data set: three tables and one `dataset.toml` that says what their columns mean."""

import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from intake.context import ContextColumns
from intake.encoder_settings import MainEncoder
from intake.event_types import (
    Decay,
    EventType,
    Weight,
    condition_of,
    decides_positive,
    has_negative,
)
from intake.model_settings import NextItemConfig, RankerConfig, Section
from intake.near_name import did_you_mean
from intake.split_settings import SplitConfig
from intake.tables.section import Columns, TableSection
from intake.variety_settings import PLAIN, Variety
from intake.versioned_tables import Items, Users
from intake.writer_settings import WriterConfig, require_new_names

_WORDS = re.compile(r"\w+")

Value = Annotated[float, Field(ge=-1e15, le=1e15, allow_inf_nan=False)]


class Interactions(TableSection):
    """`[interactions]`: the event log.

    Attributes
    ----------
    explicit : whether events that are not positive are there too; true where `positive` is given,
        or false for a type
    positive : an SQL expression over the columns of the log; None: what the types say, or else
        every event is positive
    types : what events of an event_type mean
    context : columns of the log that a request has too
    value_range : the least and the greatest value that an event can have, both allowed
    """

    explicit: bool = False
    positive: str | None = None
    value_range: tuple[Value, Value] = (-1e12, 1e12)
    types: dict[str, EventType] = Field(default_factory=dict)
    context: ContextColumns = ContextColumns()

    @model_validator(mode="before")
    @classmethod
    def _positive_says_explicit(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        if given.get("positive") is not None or has_negative(given.get("types")):
            return {"explicit": True, **given}
        return given

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        decided = decides_positive(self.types)
        if self.explicit and self.positive is None and not decided:
            raise ValueError("explicit = true needs positive, such as positive = 'value >= 4'")
        if self.positive is not None and decided:
            raise ValueError("positive is said by [interactions.types] too; remove one of the two")
        if decided and self.explicit != has_negative(self.types):
            raise ValueError("explicit is said by positive of [interactions.types]; remove it")
        if self.positive is not None and not self.explicit:
            raise ValueError("positive is not used with explicit = false; remove one of the two")
        if self.value_range[0] >= self.value_range[1]:
            raise ValueError("value_range has the least value first, such as [0.5, 5.0]")
        return self

    @property
    def is_rated(self) -> bool:
        """Whether the value of an event says that it is liked, as a rating does.

        Where it does not, what is positive was chosen, bought or watched, and nobody said that it
        was liked.
        """
        return self.positive is not None and "value" in _WORDS.findall(self.positive)

    @property
    def condition(self) -> str | None:
        """What is positive, as an SQL expression; None: every event is."""
        if self.positive is None and decides_positive(self.types):
            return condition_of(self.types)
        return self.positive


class Activity(Section):
    """`[activity]`: how events become point-in-time features.

    Attributes
    ----------
    history : items kept in the user's list of recent items
    snapshot_every : a behaviour snapshot (titles liked, disliked) after each n-th event of a user
    behaviour_tokens : token budget of the text of a snapshot
    window_days : the two windows in which popularity is counted
    categories : categories kept per user
    """

    history: Annotated[int, Field(ge=1, le=10_000)] = 50
    snapshot_every: Annotated[int, Field(ge=1)] = 10
    behaviour_tokens: Annotated[int, Field(ge=8)] = 64
    window_days: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = (7, 30)
    categories: Annotated[int, Field(ge=1)] = 20


class Cleaning(Section):
    """`[cleaning]`: optional cleaning. NFKC, HTML and control characters are always cleaned.

    Attributes
    ----------
    punctuation, digits : whether they are left out of texts
    stop_words : words that are left out of texts
    """

    punctuation: bool = False
    digits: bool = False
    stop_words: Columns = ()


class Interest(Section):
    """`[interest]`: the moving average `v <- a*v + (1-a)*w*e` of item vectors.

    The average is the user's *interest*; `e` is the vector of an event's item.

    Attributes
    ----------
    decay : `a`, per event
    positive_weight : `w` of a positive event
    negative_weight : `w` of any other event
    """

    decay: Decay = 0.9
    positive_weight: Weight = 1.0
    negative_weight: Weight = -0.5


class Live(Section):
    """`[live]`: what Redis keeps of live events.

    Attributes
    ----------
    user_ttl_s : seconds after a user's last live event at which they leave Redis, and with them the
        rows of a user who is not prepared; the journal has them when the user returns. None: never
    """

    user_ttl_s: Annotated[float, Field(gt=0)] | None = None


class Retention(Section):
    """`[retention]`: how long what serving adds is kept; without a bound it stays.

    Attributes
    ----------
    journal_days : of an event in the journal, by its time. A later preparation lacks it, and so
        does what is trained then: more than models shall learn from
    served_days : of a file in the log of served features
    """

    journal_days: Annotated[float, Field(gt=0)] | None = None
    served_days: Annotated[float, Field(gt=0)] | None = None


class Dataset(Section):
    """A parsed `dataset.toml`; every path is absolute.

    Attributes
    ----------
    name : of the data set, in small letters, digits and underscores; its folder is called so
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    items: Items
    users: Users | None = None
    interactions: Interactions
    activity: Activity = Activity()
    encoder: MainEncoder = MainEncoder()
    writer: Annotated[WriterConfig | None, AfterValidator(require_new_names)] = None
    cleaning: Cleaning = Cleaning()
    interest: Interest = Interest()
    live: Live = Live()
    retention: Retention = Retention()
    ranker: RankerConfig = RankerConfig()
    candidates: NextItemConfig = NextItemConfig()
    split: SplitConfig = SplitConfig()
    variety: Variety = PLAIN
    path: Path

    @model_validator(mode="after")
    def _varies_by_categories(self) -> Self:
        written = self.writer.attributes if self.writer else ()
        known = (*self.items.categorical, *written)
        for name in (*self.variety.max_per, *self.variety.calibrated):
            if name not in known:
                raise ValueError(
                    f"[variety] names {name!r}, expected a categorical column of items: "
                    f"{', '.join(known) or 'there is none'}.{did_you_mean(name, known)}"
                )
        return self

    @property
    def folder(self) -> Path:
        """Where relative paths start."""
        return self.path.parent

    def interest_rule(self, positive: bool, event_type: str | None) -> tuple[float, float]:
        """`w` and `a` of an event: of its type, else the defaults of [interest]."""
        interest, types = self.interest, self.interactions.types
        weight = interest.positive_weight if positive else interest.negative_weight
        own = types.get(event_type) if event_type is not None else None
        if own is None:
            return weight, interest.decay
        return (
            weight if own.interest_weight is None else own.interest_weight,
            interest.decay if own.decay is None else own.decay,
        )
