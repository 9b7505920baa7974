"""What a request may say of its answer: the visit before it, how it is spread, what it serves."""

from typing import Annotated, Any

from pydantic import AwareDatetime, ConfigDict, Field

from serving.http.body import Body, Count, Finite, Identifier, Share
from serving.visit import MAX_ITEMS, Visited

MAX_COLUMNS = 8

ObjectiveWeight = Annotated[float, Field(ge=0, le=100)]


class VisitedBody(Body):
    """One item of a visit; as an event that is kept nowhere."""

    model_config = ConfigDict(title="Visited")

    item_id: Identifier
    event_type: Identifier | None = None
    value: Finite | None = None
    event_timestamp: AwareDatetime | None = None


class SessionBody(Body):
    """What the user did on this visit."""

    session: list[Identifier | VisitedBody] = Field(
        default_factory=list,
        max_length=MAX_ITEMS,
        description="Items of this visit, the newest last, by id or as events: they count for this "
        "answer and are kept nowhere. Items that the data set does not have are left out.",
    )

    def visit(self) -> list[Visited]:
        """The items of the visit."""
        return [
            Visited(each)
            if isinstance(each, str)
            else Visited(each.item_id, each.event_type, each.value, each.event_timestamp)
            for each in self.session
        ]


class VarietyBody(Body):
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


class ObjectiveBody(Body):
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
