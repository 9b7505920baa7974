"""Accepted events into the newest online rows of their users and items.

A row is derived from the prepared history and all live events of its key, those of other processes
included, by the arithmetic of the offline features. Nothing is locked between processes: the live
events of a key are a set in Redis (`serving.live.log`) that only grows, each row is stamped with
how far that set had grown, and the store keeps the row of the fullest set, whoever writes last.
"""

import logging
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence

import pyarrow as pa
from feast import FeatureStore

from feast_fusion.errors import FeatureNotFoundError, StoreUnavailableError
from feast_fusion.redis_matrix import online_store_of
from intake.event import Event
from intake.journal import read_events
from intake.workspace import Workspace
from serving.live.entity import LiveEntity, LiveRow, item_tables, user_tables
from serving.live.log import Addition, LiveKey, LiveLog, Read, decode_members, encode_member
from serving.live.prepared_history import PreparedHistory, read_stamp
from serving.online_views import OnlineViews
from transformations.running_activity import Occurrence

# Writes the rows of one view; one that is not newer than the stored row must be left out.
WriteRows = Callable[[str, pa.Table], None]

_REPLAY_EVENTS = 2_000  # one round trip
_MAX_ENTITIES = 100_000  # states kept in memory; one that was dropped is derived again

_log = logging.getLogger(__name__)


class _EmptiedError(StoreUnavailableError):
    """The live events that Redis had are gone, or were never put there."""

    def __init__(self) -> None:
        super().__init__(
            "Redis: got none of the live events it had, expected it to keep them. It was emptied; "
            "apply again."
        )


class LiveFeatures:
    """Keeps user_stats, user_recent, user_interest and item_stats at the newest event.

    Any number of processes may apply events of the same users at once, in any order, also twice.
    Threads may share one object; they take turns.

    Parameters
    ----------
    encoder_id : that of the interest vectors; None where the model has none

    Raises
    ------
    FeatureNotFoundError
        Nothing was prepared yet.
    """

    def __init__(
        self, workspace: Workspace, log: LiveLog, write: WriteRows, encoder_id: str | None
    ) -> None:
        self._workspace = workspace
        self._live = log
        self._write = write
        self._encoder_id = encoder_id
        self._lock = threading.RLock()
        self._epoch: str | None = None
        # After a new preparation rows are written also where no event is new: what other
        # processes wrote meanwhile came on top of the old one.
        self._touches = False
        self._entities: OrderedDict[LiveKey, LiveEntity] = OrderedDict()
        self._base = PreparedHistory(workspace, encoder_id)

    @classmethod
    def open(
        cls, workspace: Workspace, store: FeatureStore, encoder_id: str | None
    ) -> "LiveFeatures":
        """On the online store of a Feast repository, which must be a `MatrixRedisOnlineStore`."""
        online = online_store_of(store)
        log = LiveLog(online.transport(store.config.online_store), store.project)
        return cls(workspace, log, OnlineViews(store).write, encoder_id)

    @property
    def base(self) -> PreparedHistory:
        """The prepared history in use: which items there are, and which events are in it."""
        return self._base

    def acted_on(self, user_id: str) -> set[str]:
        """Items of the user's live events, as far as this process has applied any of them.

        Asked while others apply events, it knows of all that were applied before.
        """
        entity = self._entities.get(LiveKey("user", user_id))
        names = self._base.versions.ids.ids
        return set() if entity is None else {names[at].as_py() for at in entity.live_items}

    def apply(self, events: Sequence[Event]) -> None:
        """Brings the rows of the events' users and items up to date.

        The events must be in the journal: when Redis was emptied, or a new preparation is there,
        all of the journal that is not prepared is applied. An event whose item is unknown, or
        whose `positive` is undecided, or that is prepared already, has no effect.

        Raises
        ------
        StoreUnavailableError
            Redis cannot be reached or refused. Applying the same events again completes it.
        """
        with self._lock:
            self.refresh(ask_redis=False)
            try:
                self._apply(events)
            except _EmptiedError:
                self.replay()
                self._apply(events)  # nothing is new now if the events are in the journal

    def refresh(self, *, ask_redis: bool = True) -> bool:
        """Whether there was a new preparation, or Redis was emptied; if so, it is made good.

        Raises
        ------
        StoreUnavailableError
            As `apply`.
        """
        with self._lock:
            base = self._newest_base()
            if base is not self._base:
                previous, self._base = self._base, base
                # What is set here stays until a replay succeeds.
                self._epoch = None
                self._touches = True
                self._remove_long_folded(previous)
            if self._epoch is None or (ask_redis and self._live.epoch() != self._epoch):
                self.replay()
                return True
            return False

    def replay(self) -> int:
        """How many events of the journal are not prepared; all of them are applied.

        Raises
        ------
        SchemaError
            The journal is damaged.
        StoreUnavailableError
            As `apply`.
        """
        with self._lock:
            self._entities.clear()
            epoch = self._live.open(uuid.uuid4().hex)
            events = self._unfolded(read_events(self._workspace.events))
            events.sort(key=lambda event: event.time)
            self._epoch = epoch
            try:
                for start in range(0, len(events), _REPLAY_EVENTS):
                    self._apply(events[start : start + _REPLAY_EVENTS])
            except BaseException:
                self._epoch = None
                raise
            self._touches = False
            return len(events)

    def _newest_base(self) -> PreparedHistory:
        try:
            if read_stamp(self._workspace) == self._base.stamp:
                return self._base
            return PreparedHistory(self._workspace, self._encoder_id)
        except FeatureNotFoundError as error:
            # For a moment while one takes the place of the other; the old one holds until then.
            _log.info("Live events stay on the preparation in memory: %s", error)
            return self._base

    def _apply(self, events: Sequence[Event]) -> None:
        usable = [event for event, _ in self._occurrences(events)]
        members: dict[LiveKey, list[bytes]] = {}
        for event in usable:
            member = encode_member(event)
            for key in _keys(event):
                members.setdefault(key, []).append(member)
        if not members:
            return
        try:
            reads = self._read(members)
            self._advance(reads)
            self._write_rows(reads)
        except BaseException:
            for key in members:
                self._entities.pop(key, None)  # what is half done is derived again
            raise
        while len(self._entities) > _MAX_ENTITIES:
            self._entities.popitem(last=False)

    def _read(self, members: Mapping[LiveKey, Sequence[bytes]]) -> dict[LiveKey, Read]:
        """Adds `members`; what is new of each key since it was last read here."""
        for key in members:
            if key not in self._entities:
                self._entities[key] = LiveEntity(self._base, key)
            self._entities.move_to_end(key)
        additions = {key: Addition(new, self._entities[key].seen) for key, new in members.items()}
        reads = self._add(additions)
        # Fewer events than were read before: some were removed since, so all are read again.
        torn = [key for key, read in reads.items() if not self._entities[key].continues(read)]
        if torn:
            for key in torn:
                self._entities[key] = LiveEntity(self._base, key)
            reads |= self._add({key: Addition((), 0) for key in torn})
        return reads

    def _add(self, additions: Mapping[LiveKey, Addition]) -> dict[LiveKey, Read]:
        epoch, reads = self._live.add(additions, touch=self._touches)
        if epoch is None or epoch != self._epoch:
            raise _EmptiedError
        return reads

    def _advance(self, reads: Mapping[LiveKey, Read]) -> None:
        members = list({member for read in reads.values() for member in read.members if member})
        members.sort()
        decoded = decode_members(members)
        of_event = dict(self._occurrences(decoded))
        found = {
            member: of_event[event]
            for member, event in zip(members, decoded, strict=True)
            if event in of_event
        }
        for key, read in reads.items():
            self._entities[key].advance(read, found)

    def _occurrences(self, events: Sequence[Event]) -> list[tuple[Event, Occurrence]]:
        """The events that count beside the prepared ones, each as it is replayed."""
        events = self._unfolded(events)
        found = []
        for event, positive in zip(events, self._base.positives(events), strict=True):
            item = self._base.item(event.item_id)
            if item is not None and positive is not None:
                value = float("nan") if event.value is None else event.value
                occurrence = Occurrence(
                    event.time, item, event.event_id, positive, value, event.event_type
                )
                found.append((event, occurrence))
        return found

    def _unfolded(self, events: Sequence[Event]) -> list[Event]:
        are_folded = self._base.are_folded([event.event_id for event in events])
        return [e for e, is_folded in zip(events, are_folded, strict=True) if not is_folded]

    def _write_rows(self, keys: Iterable[LiveKey]) -> None:
        rows: dict[str, list[LiveRow]] = {"user": [], "item": []}
        for key in keys:
            row = self._entities[key].row()
            if row is not None:
                rows[key.kind].append(row)
        names = self._base.versions.ids.ids
        tables = item_tables(rows["item"]) | user_tables(rows["user"], names, self._encoder_id)
        for view, table in tables.items():
            if len(table):
                self._write(view, table)

    def _remove_long_folded(self, previous: PreparedHistory) -> None:
        """Takes out of Redis what the previous preparation had too: every process knows it."""
        events = read_events(self._workspace.events)
        ids = [event.event_id for event in events]
        gone: dict[LiveKey, list[bytes]] = {}
        before, now = previous.are_folded(ids), self._base.are_folded(ids)
        for event, was_folded, is_folded in zip(events, before, now, strict=True):
            if was_folded and is_folded:
                for key in _keys(event):
                    gone.setdefault(key, []).append(encode_member(event))
        self._live.remove(gone)


def _keys(event: Event) -> tuple[LiveKey, LiveKey]:
    return LiveKey("user", event.user_id), LiveKey("item", event.item_id)
