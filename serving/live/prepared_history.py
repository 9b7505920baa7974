"""The prepared history that live events come on top of, in memory."""

from collections.abc import Mapping, Sequence, Set
from copy import copy
from math import nan

import pyarrow as pa

from feast_fusion.errors import FeatureNotFoundError
from feast_fusion.parquet.whole import read_parquet, read_schema
from intake.event import Event
from intake.event_bounds import LATEST_US, defect_of_time, defect_of_value
from intake.event_types import UNLISTED, without_history
from intake.positive import PositiveRule
from intake.posted.posted_versions import withdrawn_items
from intake.screening import FORGOTTEN
from intake.tombstones import Tombstones
from intake.workspace import Workspace
from serving.live.live_event import LiveEvent, Outcome, Stamp
from serving.live.prepared_events import PreparedEvents
from transformations import names
from transformations.categories import CategoryLookup
from transformations.embedder import Embedded, Embedder
from transformations.item_versions import build_item_versions
from transformations.running_activity import (
    Occurrence,
    RunningInterest,
    RunningStatistics,
    RunningUser,
)

Embedders = Mapping[str, Embedder]
NO_VECTORS: Embedders = {}


class PreparedHistory:
    """One preparation of a workspace: what prepare has folded in. Never changes.

    Parameters
    ----------
    embedders : of the interest vectors, by encoder id

    Attributes
    ----------
    stamp : names the preparation
    items : all items; an `Occurrence` has the code of its item
    events : the prepared events
    of_journal : by file of the journal, how many of its bytes are prepared
    withdrawn : items that are in no answer any more
    context : what events may say of what was around them
    forgotten : users of whom nothing counts

    Raises
    ------
    FeatureNotFoundError
        Nothing was prepared, or it is being replaced at this moment.
    """

    def __init__(self, workspace: Workspace, embedders: Embedders = NO_VECTORS) -> None:
        self.stamp = read_stamp(workspace)
        self.forgotten = Tombstones(workspace.forgotten)
        self._dataset = dataset = workspace.dataset
        try:
            self.of_journal = workspace.read_prepared_journal()
            withdrawn = workspace.read_withdrawn()
            items = read_parquet(workspace.source(names.ITEMS))
            interactions = read_parquet(workspace.source(names.INTERACTIONS))
        except OSError as error:
            raise _nothing_prepared(workspace) from error
        self._versions = build_item_versions(items)
        self.withdrawn = withdrawn_items(items, withdrawn, LATEST_US)
        self.items = self._versions.ids
        self._categories = CategoryLookup(self._versions, dataset.items.categorical)
        self.events = PreparedEvents(interactions, self.items)
        self._rule = PositiveRule(dataset, _columns_of_file(workspace))
        self.context = dataset.interactions.context
        self._examples_only = set(without_history(dataset.interactions.types))
        self._vectors = self._embedded(embedders)
        if read_stamp(workspace) != self.stamp:
            raise FeatureNotFoundError(
                f"{workspace.sources}: got two preparations while reading, expected one. Try again."
            )

    def with_interest_of(self, embedders: Embedders) -> "PreparedHistory":
        """The same preparation, with the interest vectors of these encoders."""
        found = copy(self)
        found._vectors = self._embedded(embedders)
        return found

    @property
    def encoder_ids(self) -> Set[str]:
        """Of the interest vectors."""
        return self._vectors.keys()

    def _embedded(self, embedders: Embedders) -> dict[str, Embedded]:
        """The vectors of all item versions, by encoder id."""
        return {name: each.items(self._versions.table) for name, each in embedders.items()}

    def screen(self, events: Sequence[Event]) -> list[LiveEvent | Outcome]:
        """Each event as it counts beside the prepared ones, or why it does not count.

        An event whose user was forgotten, whose item is unknown, whose time or value is out of
        range, or whose `positive` is undecided is "rejected"; an event that is among the prepared
        ones is a "duplicate".
        """
        items = self.items.codes([event.item_id for event in events]).tolist()
        positives = self._rule.decide(events)
        folded = self.events.contain([event.event_id for event in events])
        return list(map(self._screen, events, items, positives, folded))

    def visited(self, events: Sequence[Event]) -> list[Occurrence]:
        """The events of a visit that count.

        Where `positive` cannot be decided, as of a film without a rating, who looks at an item
        likes it. What `screen` would reject for anything else does not count.
        """
        screened = zip(events, self.screen(events), strict=True)
        found = (
            each.occurrence if isinstance(each, LiveEvent) else self._liked(event, each)
            for event, each in screened
            if self.counts(event)
        )
        return [each for each in found if each is not None]

    def _liked(self, event: Event, outcome: Outcome) -> Occurrence | None:
        if outcome.reason != self._undecided(event):
            return None
        item = self.items.codes([event.item_id]).tolist()[0]
        value = nan if event.value is None else event.value
        return Occurrence(event.time, item, event.event_id, True, value, event.event_type)

    def live_events(self, events: Sequence[Event]) -> list[LiveEvent]:
        """The events that count beside the prepared ones."""
        return [each for each in self.screen(events) if isinstance(each, LiveEvent)]

    def screened_anew(self, events: Sequence[LiveEvent]) -> list[LiveEvent]:
        """The events that count, of some that may have been screened by another preparation."""
        outdated = [each.event for each in events if each.stamp != self.stamp]
        current = [each for each in events if each.stamp == self.stamp]
        return current + self.live_events(outdated) if outdated else current

    def new_item(self) -> RunningStatistics:
        """An item without events."""
        return RunningStatistics(self._dataset.activity)

    def new_user(self) -> RunningUser:
        """A user without events."""
        return RunningUser(self._dataset.activity, self._categories)

    def new_interests(self) -> dict[str, RunningInterest]:
        """The interest of a user without events, by the encoder of the vectors."""
        rule, versions = self._dataset.interest_rule, self._versions
        return {
            encoder_id: RunningInterest(rule, versions, *vectors)
            for encoder_id, vectors in self._vectors.items()
        }

    def counts(self, event: Event) -> bool:
        """Whether the event is part of the history of its user and item, see `EventType`."""
        return event.event_type not in self._examples_only and event.user_id not in self.forgotten

    def _undecided(self, event: Event) -> str:
        if self._dataset.interactions.positive is None:
            return UNLISTED
        return "null value" if event.value is None else "undecided positive"

    def _screen(
        self, event: Event, item: int, positive: bool | None, is_folded: bool
    ) -> LiveEvent | Outcome:
        if event.user_id in self.forgotten:
            return Outcome("rejected", event.event_id, FORGOTTEN)
        if item < 0:
            return Outcome("rejected", event.event_id, "unknown item_id")
        allowed = self._dataset.interactions.value_range
        defect = defect_of_time(event.time) or defect_of_value(event.value, allowed)
        if defect is not None:
            return Outcome("rejected", event.event_id, defect)
        if positive is None:
            return Outcome("rejected", event.event_id, self._undecided(event))
        if is_folded:
            return Outcome("duplicate", event.event_id)
        value = nan if event.value is None else event.value
        occurrence = Occurrence(event.time, item, event.event_id, positive, value, event.event_type)
        return LiveEvent(event, occurrence, self.stamp)


def read_stamp(workspace: Workspace) -> Stamp:
    """What changes with each preparation.

    Raises
    ------
    FeatureNotFoundError
        Nothing was prepared.
    """
    stamp = workspace.read_stamp()
    if stamp is None:
        raise _nothing_prepared(workspace)
    return stamp


def _nothing_prepared(workspace: Workspace) -> FeatureNotFoundError:
    return FeatureNotFoundError(
        f"{workspace.sources}: got no prepared sources, expected the sources that live events "
        "come on top of. Run feast-fusion prepare."
    )


def _columns_of_file(workspace: Workspace) -> pa.Schema:
    """What `positive` may name, as prepare has read it: rejected rows keep all their columns."""
    try:
        return read_schema(workspace.sources / "rejects" / "interactions.parquet")
    except OSError:
        return pa.schema([])
