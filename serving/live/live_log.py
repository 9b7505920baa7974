"""The live events of each user and item in Redis, which all processes add to and read from.

One sorted set per key: the members are the events themselves, so that adding one again changes
nothing, and the score is when it was added, in microseconds of the server's clock, greater than
all before. The greatest score therefore names the set of events that a row was derived from: rows
carry it as their created timestamp, and of two rows the row of the fuller set wins.

Redis must not evict these keys (maxmemory-policy noeviction, or volatile-*: they never expire).
What is lost all at once is noticed and replayed from the journal.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from feast_fusion.online.redis.transport import Transport
from intake.event import Event

# An empty member is no event: `touch` moves it to the end, so that rows written anew are newer.
_ADD = """
local key, seen, touch = KEYS[1], ARGV[1], ARGV[2]
local newest = redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')
local top = tonumber(newest[2] or '0')
local now = redis.call('TIME')
local stamp = string.format('%.0f', math.max(now[1] * 1000000 + now[2], top + 1))
local added = 0
for i = 3, #ARGV do
  added = added + redis.call('ZADD', key, 'NX', stamp, ARGV[i])
end
if touch == '1' then
  redis.call('ZADD', key, stamp, '')
  added = 1
end
if added == 0 then stamp = string.format('%.0f', top) end
local count = redis.call('ZCARD', key)
if redis.call('ZSCORE', key, '') then count = count - 1 end
return {stamp, count, redis.call('ZRANGEBYSCORE', key, '(' .. seen, '+inf')}
"""


_N_ALWAYS = Event._fields.index("received")  # fields that each member has
_SHA = hashlib.sha1(_ADD.encode(), usedforsecurity=False).hexdigest()


class LiveKey(NamedTuple):
    """Whose events: kind is "user" or "item"."""

    kind: str
    entity_id: str


class Addition(NamedTuple):
    """What is added to one key, and the newest score that the caller has read of it."""

    members: Sequence[bytes]
    seen: int


class Read(NamedTuple):
    """One key after an addition: the newest score, the number of events, and the new events."""

    created: int
    n_events: int
    members: list[bytes]


class LiveLog:
    """The live events of one project. All methods raise StoreUnavailableError as `Transport`."""

    def __init__(self, transport: Transport, project: str) -> None:
        self._transport = transport
        self._prefix = f"fusion:live:{project}:"
        self._epoch = f"{self._prefix}epoch"

    def add(
        self, additions: Mapping[LiveKey, Addition], *, touch: bool = False
    ) -> tuple[str | None, dict[LiveKey, Read]]:
        """The epoch of the log, and what each key has after its addition.

        Atomic per key, and safe to repeat. With `touch` the newest score rises also where no
        event is new.
        """
        calls: list[tuple[bytes | int | str, ...]] = [
            ("EVALSHA", _SHA, 1, self._name(key), each.seen, int(touch), *each.members)
            for key, each in additions.items()
        ]
        epoch, *replies = self._transport.write([("GET", self._epoch), *calls], scripts=[_ADD])
        reads = [Read(int(stamp), count, members) for stamp, count, members in replies]
        return _text(epoch), dict(zip(additions, reads, strict=True))

    def open(self, token: str) -> str:
        """The epoch: `token` unless there is one already."""
        commands = [("SET", self._epoch, token, "NX"), ("GET", self._epoch)]
        return str(_text(self._transport.write(commands)[1]))

    def epoch(self) -> str | None:
        """The epoch that is there; None when Redis was emptied since it was opened."""
        return _text(self._transport.write([("GET", self._epoch)])[0])

    def remove(self, members: Mapping[LiveKey, Sequence[bytes]]) -> None:
        """Removes events that prepare folded in so long ago that every process knows."""
        if members:
            self._transport.write(
                [("ZREM", self._name(key), *each) for key, each in members.items()]
            )

    def _name(self, key: LiveKey) -> str:
        return f"{self._prefix}{key.kind}:{key.entity_id}"


def keys_of(event: Event) -> tuple[LiveKey, LiveKey]:
    """The user and the item of an event."""
    return LiveKey("user", event.user_id), LiveKey("item", event.item_id)


def encode_member(event: Event) -> bytes:
    """The event as it is kept in Redis: equal for equal events. `received` is left out."""
    context = [] if event.context is None else [event.context]
    kept = [*event[:_N_ALWAYS], *context]
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode()


def decode_members(members: Iterable[bytes]) -> list[Event]:
    """The events of members, in their order; `received` is 0."""
    joined = b",".join(member for member in members if member)
    return [
        Event._make([*fields[:_N_ALWAYS], 0, next(iter(fields[_N_ALWAYS:]), None)])
        for fields in json.loads(b"[" + joined + b"]")
    ]


def _text(reply: bytes | None) -> str | None:
    return None if reply is None else reply.decode()
