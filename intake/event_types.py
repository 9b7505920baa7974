"""`[interactions.types]`: what an event of each event_type means."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from intake.model_settings import NotNegative, Section

Decay = Annotated[float, Field(ge=0.0, lt=1.0)]
Weight = Annotated[float, Field(allow_inf_nan=False)]

UNLISTED = "event_type that [interactions.types] does not list"


class EventType(Section):
    """`[interactions.types.<event_type>]`: what events of one type mean.

    Attributes
    ----------
    positive : whether such an event is a liked one; said of all types or of none, in place of the
        expression `positive` of [interactions]
    weight : of its row in the loss of the ranker, and of the event in the item models
    history : whether the user did something: the event counts in statistics, recent items,
        interest and item models, and the user has had the item. With false it is an example to
        learn from and nothing else, as an impression is
    interest_weight : `w` of [interest] for such events; None: the default for their `positive`
    decay : `a` of [interest] for such events; None: the default
    objective : weight, in the order of an answer, of the log odds that a choice becomes an event
        of this type; above 0 the ranker has a head for it
    """

    positive: bool | None = None
    weight: NotNegative = 1.0
    history: bool = True
    interest_weight: Weight | None = None
    decay: Decay | None = None
    objective: NotNegative = 0.0


Types = Mapping[str, EventType]


def decides_positive(types: Types) -> bool:
    """Whether the types say what is positive.

    Raises
    ------
    ValueError
        Only some of them do.
    """
    silent = [name for name, each in types.items() if each.positive is None]
    if silent and len(silent) < len(types):
        raise ValueError(
            f"positive is missing for {', '.join(map(repr, silent))}; say it of all or of none"
        )
    return bool(types) and not silent


def has_negative(types: Any) -> bool:
    """Whether a type, as it is written or read, says that its events are not positive."""
    if not isinstance(types, Mapping):
        return False
    found = [dict(each).get("positive") for each in types.values() if _is_type(each)]
    return False in found


def _is_type(each: Any) -> bool:
    return isinstance(each, dict | EventType)


def condition_of(types: Types) -> str:
    """What is positive as an SQL expression over event_type; null for a type that is not listed."""
    cases = " ".join(
        f"WHEN event_type = '{_quoted(name)}' THEN {str(each.positive).upper()}"
        for name, each in types.items()
    )
    return f"CASE {cases} END"


def weights_of(types: Types, event_types: pa.Array | pa.ChunkedArray) -> NDArray[np.float32]:
    """(n,) the weight of each event, 1 where its type has none of its own."""
    own = {name: each.weight for name, each in types.items()}
    found = [own.get(name, 1.0) for name in event_types.to_pylist()]
    return np.array(found, dtype=np.float32)


def without_history(types: Types) -> Sequence[str]:
    """The types whose events are examples only."""
    return [name for name, each in types.items() if not each.history]


def objectives_of(types: Types) -> dict[str, float]:
    """By event_type the weights in the order of an answer, of the types that have one."""
    return {name: each.objective for name, each in types.items() if each.objective > 0}


def _quoted(name: str) -> str:
    return name.replace("'", "''")
