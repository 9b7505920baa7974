"""Accepted events into the newest online rows of their users and items.

A row is derived from the prepared history and all live events of its key, whichever process took
them in, by the arithmetic of the offline features. Nothing is locked between processes:

- The live events of a key are a set in Redis (`serving.live.live_log`), which only grows.
- Each row is stamped with how far the set had grown.
- The store keeps the row of the fullest set, whoever writes last.

The journal is the truth. Redis may lose all that it had (it was emptied, or came back with an older
state), a set, or a row: each is noticed by what this process knows to have been there, and made
good from the journal.
"""

import logging
import threading
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache

from feast import FeatureStore

from feast_fusion.redis_matrix import online_store_of
from intake.event import EVENT_FORMAT
from intake.journal_index import JournalIndex
from intake.workspace import Workspace
from serving.live.departures import Departures
from serving.live.folded_events import remove_long_folded, write_folded
from serving.live.followed_encoders import FollowedEncoders
from serving.live.journal_counts import JournalCounts
from serving.live.kept_epoch import keep_epoch, kept_epoch
from serving.live.live_entities import EmptiedError, LiveEntities
from serving.live.live_event import LiveEvent, Stamp
from serving.live.live_log import LiveKey, LiveLog
from serving.live.live_rows import LiveRows
from serving.live.lost_rows import LostRows
from serving.live.newest_history import NewestHistory
from serving.live.prepared_history import PreparedHistory
from serving.online_views import OnlineViews
from transformations.embedder import Embedder
from transformations.running_activity import Occurrence

_REPLAY_EVENTS = 2_000  # one round trip
_MAX_FORMER = 100_000  # users whose events of former processes are kept in memory

_log = logging.getLogger(__name__)


class LiveFeatures:
    """Keeps the online views `transformations.names.LIVE_VIEWS` at the newest event.

    Any number of processes may apply events of the same users at once, in any order, also twice.
    Threads may share one object; they take turns.

    Raises
    ------
    FeatureNotFoundError
        Nothing was prepared yet.
    """

    def __init__(self, workspace: Workspace, log: LiveLog, rows: LiveRows) -> None:
        self._workspace = workspace
        self._live = log
        self._rows = rows
        self._lock = threading.RLock()
        self._history = PreparedHistory(workspace, rows.encoders.by_id)
        self._newest = NewestHistory(workspace)
        self._index = JournalIndex(workspace.events, EVENT_FORMAT)
        self._former = lru_cache(_MAX_FORMER)(self._acted_on_before)
        self._entities: LiveEntities | None = None  # until the first replay
        self._counts = JournalCounts(self._index)
        # After a new preparation rows are written also where no event is new: what other
        # processes wrote meanwhile came on top of the old one.
        self._touches = False
        self._is_older = False  # what Redis has is an older state, not yet made good
        self._n_broken = 0  # see `Transport`: as of when Redis last had the known epoch
        self._lost = LostRows()

    @classmethod
    def open(
        cls, workspace: Workspace, store: FeatureStore, embedders: Sequence[Embedder] = ()
    ) -> "LiveFeatures":
        """On the online store of a Feast repository, which must be a `MatrixRedisOnlineStore`.

        embedders : of encoders whose interest vectors follow events from the beginning
        """
        transport = online_store_of(store).transport(store.config.online_store)
        log, views = LiveLog(transport, store.project), OnlineViews(store)
        encoders = FollowedEncoders(embedders)
        ttl_s, departures = workspace.dataset.live.user_ttl_s, None
        if ttl_s is not None:
            departures = Departures(transport, store.project, log, views, encoders, ttl_s)
        return cls(workspace, log, LiveRows(views.write, encoders, departures))

    @property
    def history(self) -> PreparedHistory:
        """The prepared history in use, which screens events before they are applied."""
        return self._history

    def acted_on(self, user_id: str) -> set[str]:
        """Items of the user's live events, which this process or one before it has applied.

        Asked while others apply events, it knows of all that were applied before.
        """
        if (entities := self._entities) is None:
            return set()
        found = entities.acted_on(user_id)
        return set(self._former(user_id)) if found is None else found

    def _acted_on_before(self, user_id: str) -> frozenset[str]:
        """The same by what is in the index, where this process has applied none."""
        found = self._of_journal([LiveKey("user", user_id)], tails=False)
        return frozenset(each.event.item_id for each in found)

    def occurrences(self, user_id: str, history: PreparedHistory) -> list[Occurrence]:
        """The user's live events on top of a preparation, as `acted_on` knows them."""
        key, entities = LiveKey("user", user_id), self._entities
        state = entities.state(key) if entities and entities.history is history else None
        if state is not None:
            return state.live_events
        return [each.occurrence for each in self._of_journal([key], tails=False)]

    def known_since(self, user_id: str) -> int | None:
        """How new the row of recent items written here is, as event time in us; None without."""
        entities = self._entities
        state = entities and entities.state(LiveKey("user", user_id))
        return state.written if state else None

    def note_loss(self, user_id: str, has_left: bool) -> None:
        """Takes note that the user's row is missing, or older than `known_since` said before.

        That of a user who had left is made again, and is no sign that Redis loses anything.
        """
        self._lost.note(
            user_id, should_be_there=lambda: not has_left and bool(self.acted_on(user_id))
        )

    def follow(self, prepared: Callable[[], Stamp | None]) -> None:
        """See `NewestHistory`."""
        self._newest.follow(prepared)

    def interest_of(self, embedder: Embedder) -> AbstractContextManager[None]:
        """While it is open, interest vectors of that encoder follow events too, from the first on.

        Opening raises as `apply`.
        """
        return self._rows.encoders.following(embedder, self._follow_encoders)

    def _follow_encoders(self) -> None:
        with self._lock:
            self._history = self._history.with_interest_of(self._rows.encoders.by_id)
            if self._entities is not None:
                self._touches = True
                self.replay()

    @property
    def may_be_older(self) -> bool:
        """Whether any row may be older than the journal: until all that Redis lost is made good."""
        is_sure = self._entities is not None and self._n_broken == self._live.n_broken
        return self._is_older or not is_sure

    @property
    def is_behind(self) -> bool:
        """The same, and where a user with live events has no row; of others it may not be there."""
        return self.may_be_older or self._lost.should_be_there

    def apply(self, events: Sequence[LiveEvent]) -> None:
        """Brings the rows of the events' users and items up to date.

        The events must be in the journal: when Redis was emptied, or a new preparation is there,
        all of the journal that is not prepared is applied.

        Raises
        ------
        StoreUnavailableError
            Redis cannot be reached or refused. Applying the same events again completes it.
        """
        with self._lock:
            entities = self._up_to_date(ask_redis=False)
            live = self._history.screened_anew(events)
            try:
                self._put(entities, live)
            except EmptiedError:
                entities = self._made_good()
                self._put(entities, live)  # nothing is new now that the journal was applied
            self._lost.restore(self._rows, entities, self._of_journal)

    def refresh(self) -> None:
        """Makes good a new preparation, or what Redis lost, where there was any.

        Raises
        ------
        StoreUnavailableError
            As `apply`.
        """
        with self._lock:
            entities = self._up_to_date(ask_redis=True)
            self._lost.restore(self._rows, entities, self._of_journal)

    def replay(self) -> LiveEntities:
        """Applies all events of the journal that are not prepared; the states after them.

        What a process has applied already, to this Redis and on this preparation, is left out.
        Where Redis may have an older state, rows of events that are prepared are written, too.

        Raises
        ------
        SchemaError
            The journal is damaged.
        StoreUnavailableError
            As `apply`.
        """
        with self._lock:
            n_broken = self._live.n_broken
            epoch = self._live.open(token := uuid.uuid4().hex)
            self._is_older |= kept_epoch(self._workspace.events) not in (None, epoch)
            to = self._rows.encoders.rows_on(self._history.stamp)
            is_emptied = epoch.startswith(token)  # nobody had opened it
            place = None if self._touches or is_emptied else self._live.place(to)
            self._is_older &= place is None
            self._index.catch_up()
            prepared, ends = self._history.of_journal, dict(place or {})
            self._counts.begin(prepared, ends)
            leave = self._rows.departures is not None
            entities = LiveEntities(
                self._history, self._live, epoch, self._of_journal, self._counts, users_leave=leave
            )
            behind = {name: max(prepared.get(name, 0), end) for name, end in ends.items()}
            for piece in self._index.pieces_behind({**prepared, **behind}, ends):
                events = self._history.live_events(piece)
                events.sort(key=lambda each: each.event.time)
                for at in range(0, len(events), _REPLAY_EVENTS):
                    self._put(entities, events[at : at + _REPLAY_EVENTS], touch=self._touches)
            if self._is_older:
                write_folded(self._rows, entities, self._workspace.events)
            self._live.keep_place(to, epoch, ends, anew=True)
            keep_epoch(self._workspace.events, epoch)
            self._counts.end(ends)
            self._entities, self._touches, self._is_older = entities, False, False
            self._n_broken = n_broken
            self._former.cache_clear()
            return entities

    def note_own(self, files: Iterable[str]) -> None:
        """Takes note of the files of the journal that this process writes."""
        self._counts.note_own(files)

    def keep_place(self, ends: Mapping[str, int]) -> None:
        """Keeps that this much of files is applied, for the next process; raises as `apply`.

        Users who left are removed then.
        """
        with self._lock:
            entities = self._entities
            if entities is not None and not self._is_older:
                to = self._rows.encoders.rows_on(self._history.stamp)
                self._live.keep_place(to, entities.epoch, ends)
                if self._rows.departures is not None:
                    self._rows.departures.sweep(self._history)

    def _made_good(self) -> LiveEntities:
        self._is_older = True
        _log.warning(
            "Redis was emptied or started again: what follows from live events is made again from "
            "the journal. If it has an older state, run feast-fusion refresh full for the rest."
        )
        return self.replay()

    def _of_journal(self, keys: Collection[LiveKey], *, tails: bool = True) -> list[LiveEvent]:
        events = self._index.records_of(keys, self._history.of_journal, tails=tails)
        live = self._history.live_events(events)
        return [each for each in live if self._history.counts(each.event)]

    def _up_to_date(self, *, ask_redis: bool) -> LiveEntities:
        """States on the newest preparation; with `ask_redis` also in the epoch that Redis has."""
        history = self._newest.after(self._history, self._rows.encoders.by_id)
        if history is not self._history:
            previous, self._history, self._touches = self._history, history, True
            remove_long_folded(self._live, self._index, history, previous)
        entities = self._entities
        if entities is None or entities.history is not history:
            return self.replay()
        n_broken = self._live.n_broken
        ask_redis |= n_broken != self._n_broken
        if self._is_older or (ask_redis and self._live.epoch() != entities.epoch):
            return self._made_good()
        self._n_broken = n_broken
        return entities

    def _put(
        self, entities: LiveEntities, events: Sequence[LiveEvent], *, touch: bool = False
    ) -> None:
        counted = [each for each in events if entities.history.counts(each.event)]
        self._rows.write(entities.history, entities.add(counted, touch=touch))
