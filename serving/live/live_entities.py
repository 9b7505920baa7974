"""The users and items that have live events: their states in memory, in step with Redis."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence

from feast_fusion.errors import StoreUnavailableError
from serving.live.journal_counts import JournalCounts
from serving.live.live_entity import LiveEntity
from serving.live.live_event import LiveEvent
from serving.live.live_log import (
    Addition,
    LiveKey,
    LiveLog,
    Read,
    decode_members,
    encode_member,
    keys_of,
)
from serving.live.prepared_history import PreparedHistory
from transformations.running_activity import Occurrence

# The events of some keys that the journal has and that are not prepared.
OfJournal = Callable[[Collection[LiveKey]], list[LiveEvent]]

_MAX_ENTITIES = 100_000  # states kept in memory; a state that was dropped is derived again

_log = logging.getLogger(__name__)


class EmptiedError(StoreUnavailableError):
    """Redis was emptied, or its server is another one: what it had may be gone."""

    def __init__(self) -> None:
        super().__init__(
            "Redis: got an empty or another server, expected the one that live events were put "
            "into. Apply again."
        )


class LiveEntities:
    """States on top of one prepared history, within one epoch of the log of live events.

    Redis has all live events of a key, whichever process added them. A state knows how far it has
    read its key (`seen`), so adding an event also reads what others have added:

    ==========================  =================  ====================  ====
    this process                events of the key  what it reads         seen
    ==========================  =================  ====================  ====
    adds a                      a at 5             a                     5
    (another process adds b)    a at 5, b at 9
    adds c                      a, b, c at 12      b and c               12
    adds c once more            a, b, c            nothing               12
    ==========================  =================  ====================  ====

    A key that has less than was read of it before has lost events (or prepare folded them in): its
    events are put there again from the journal, before a row is derived from the rest. Before this
    process has read a key, `counts` says what it must have.

    Parameters
    ----------
    users_leave : whether `Departures` removes sets of users: one that is gone is no loss
    """

    def __init__(
        self,
        history: PreparedHistory,
        log: LiveLog,
        epoch: str,
        of_journal: OfJournal,
        counts: JournalCounts,
        *,
        users_leave: bool = False,
    ) -> None:
        self.history = history
        self.epoch = epoch
        self._log = log
        self._of_journal = of_journal
        self._counts = counts
        self._users_leave = users_leave
        self._states: OrderedDict[LiveKey, LiveEntity] = OrderedDict()
        self._n_dropped: dict[int, int] = {}  # events that keys without a state had, by their hash

    def acted_on(self, user_id: str) -> set[str] | None:
        """Items of the user's live events; None where none was read here. Safe beside `add`."""
        state = self.state(LiveKey("user", user_id))
        if state is None:
            return None
        return {self.history.items.ids[code].as_py() for code in state.live_items}

    def state(self, key: LiveKey) -> LiveEntity | None:
        """The state of a key whose events were read here. Safe beside `add`."""
        return self._states.get(key)

    def add(self, events: Sequence[LiveEvent], *, touch: bool = False) -> list[LiveEntity]:
        """Puts events into Redis; the states of their users and items after that, if not empty.

        Parameters
        ----------
        events : screened by `history`
        touch : whether rows become newer also where no event is new

        Raises
        ------
        EmptiedError
            The log is in another epoch.
        StoreUnavailableError
            Redis cannot be reached or refused. Adding the same events again completes it.
        """
        members, own = _by_key(events)
        return self._advance(members, own, touch) if members else []

    def restore(
        self, keys: Collection[LiveKey], events: Sequence[LiveEvent], *, touch: bool = False
    ) -> list[LiveEntity]:
        """The states of keys anew, after `events` are put into Redis; raises as `add`.

        Parameters
        ----------
        events : those of the journal that are of these keys; those of others do not count
        touch : see `add`
        """
        for key in keys:
            self._states.pop(key, None)
        members, own = _by_key(events)
        return self._advance({key: members.get(key, []) for key in keys}, own, touch)

    def _advance(
        self, members: Mapping[LiveKey, Sequence[bytes]], own: dict[bytes, Occurrence], touch: bool
    ) -> list[LiveEntity]:
        try:
            reads, own = self._read(members, own, touch)
            occurrences = own | self._of_others(reads, own)
            for key, read in reads.items():
                self._states[key].advance(read, occurrences)
        except BaseException:
            for key in members:
                self._drop(key)  # what is half done is derived again
            raise
        states = [self._states[key] for key in reads if self._states[key].has_events]
        while len(self._states) > _MAX_ENTITIES:
            self._drop(next(iter(self._states)))
        return states

    def _drop(self, key: LiveKey) -> None:
        if state := self._states.pop(key, None):
            self._n_dropped[hash(key)] = state.n_least

    def _read(
        self, members: Mapping[LiveKey, Sequence[bytes]], own: dict[bytes, Occurrence], touch: bool
    ) -> tuple[dict[LiveKey, Read], dict[bytes, Occurrence]]:
        """Adds `members`; what is new of each key since it was last read here.

        `own` comes back with the events that were put in again.
        """
        fresh = [key for key in members if key not in self._states]
        n_applied = dict(zip(fresh, self._counts.applied(fresh) if fresh else [], strict=True))
        for key in fresh:
            n_least = self._n_dropped.pop(hash(key), 0)
            self._states[key] = LiveEntity(self.history, key, n_least)
        for key in members:
            self._states.move_to_end(key)
        additions = {key: Addition(new, self._states[key].seen) for key, new in members.items()}
        reads = self._exchange(additions, touch)
        torn = {key for key, read in reads.items() if not self._states[key].continues(read)}
        if empty := [key for key in fresh if not reads[key].n_before]:
            for key, n in zip(empty, self._counts.foreign(empty), strict=True):
                n_applied[key] += n
        fewer = {
            key for key, n in n_applied.items() if reads[key].n_events < n + len({*members[key]})
        }
        if torn or fewer:
            journaled, of_journal = _by_key(self._of_journal(torn | fewer))
            # not all that is journaled counts
            torn |= {key for key in fewer if reads[key].n_events < len({*journaled.get(key, [])})}
            own = own | of_journal
            lost = [key for key in torn if reads[key].n_before or not self._may_have_left(key)]
            if lost:
                _log.warning("Redis lost live events of %d keys: put there again", len(lost))
            again = {key: Addition(journaled.get(key, []), 0) for key in torn}
            reads |= self._put_again(again, touch)
        return reads, own

    def _may_have_left(self, key: LiveKey) -> bool:
        return self._users_leave and key.kind == "user"

    def _put_again(self, again: Mapping[LiveKey, Addition], touch: bool) -> dict[LiveKey, Read]:
        if not again:
            return {}
        for key in again:
            self._states[key] = LiveEntity(self.history, key, self._states[key].n_least)
        return self._exchange(again, touch)

    def _exchange(self, additions: Mapping[LiveKey, Addition], touch: bool) -> dict[LiveKey, Read]:
        epoch, reads = self._log.add(additions, touch=touch)
        if epoch != self.epoch:
            raise EmptiedError
        return reads

    def _of_others(
        self, reads: Mapping[LiveKey, Read], own: Mapping[bytes, Occurrence]
    ) -> dict[bytes, Occurrence]:
        """By member the events that other processes added, as far as they count."""
        found = {member for read in reads.values() for member in read.members if member}
        others = list(found - own.keys())
        screened = self.history.screen(decode_members(others))
        return {
            member: each.occurrence
            for member, each in zip(others, screened, strict=True)
            if isinstance(each, LiveEvent)
        }


def _by_key(
    events: Sequence[LiveEvent],
) -> tuple[dict[LiveKey, list[bytes]], dict[bytes, Occurrence]]:
    """The members of each key, and the occurrence of each member."""
    members: dict[LiveKey, list[bytes]] = {}
    own: dict[bytes, Occurrence] = {}
    for each in events:
        member = encode_member(each.event)
        own[member] = each.occurrence
        for key in keys_of(each.event):
            members.setdefault(key, []).append(member)
    return members, own
