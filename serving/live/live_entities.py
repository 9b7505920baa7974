"""The users and items that have live events: their states in memory, in step with Redis."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from feast_fusion.errors import StoreUnavailableError
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

_MAX_ENTITIES = 100_000  # states kept in memory; a state that was dropped is derived again


class EmptiedError(StoreUnavailableError):
    """The live events that Redis had are gone, or were never put there."""

    def __init__(self) -> None:
        super().__init__(
            "Redis: got none of the live events it had, expected it to keep them. It was emptied; "
            "apply again."
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
    """

    def __init__(self, history: PreparedHistory, log: LiveLog, epoch: str) -> None:
        self.history = history
        self.epoch = epoch
        self._log = log
        self._states: OrderedDict[LiveKey, LiveEntity] = OrderedDict()

    def acted_on(self, user_id: str) -> set[str]:
        """Items of the user's live events that were read here. Safe beside `add`."""
        state = self._states.get(LiveKey("user", user_id))
        if state is None:
            return set()
        return {self.history.items.ids[code].as_py() for code in state.live_items}

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
        own: dict[bytes, Occurrence] = {}
        members: dict[LiveKey, list[bytes]] = {}
        for each in events:
            member = encode_member(each.event)
            own[member] = each.occurrence
            for key in keys_of(each.event):
                members.setdefault(key, []).append(member)
        if not members:
            return []
        try:
            reads = self._read(members, touch)
            occurrences = own | self._of_others(reads, own)
            for key, read in reads.items():
                self._states[key].advance(read, occurrences)
        except BaseException:
            for key in members:
                self._states.pop(key, None)  # what is half done is derived again
            raise
        states = [self._states[key] for key in reads if self._states[key].has_events]
        while len(self._states) > _MAX_ENTITIES:
            self._states.popitem(last=False)
        return states

    def _read(self, members: Mapping[LiveKey, Sequence[bytes]], touch: bool) -> dict[LiveKey, Read]:
        """Adds `members`; what is new of each key since it was last read here."""
        for key in members:
            if key not in self._states:
                self._states[key] = LiveEntity(self.history, key)
            self._states.move_to_end(key)
        additions = {key: Addition(new, self._states[key].seen) for key, new in members.items()}
        reads = self._exchange(additions, touch)
        # Fewer events than were read before: some were removed since, so all are read again.
        torn = [key for key, read in reads.items() if not self._states[key].continues(read)]
        if torn:
            for key in torn:
                self._states[key] = LiveEntity(self.history, key)
            reads |= self._exchange({key: Addition((), 0) for key in torn}, touch)
        return reads

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
