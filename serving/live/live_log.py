"""The live events of each user and item in Redis, which all processes add to and read from.

One sorted set per key: the members are the events themselves, so that adding one again changes
nothing, and the score is when it was added, in microseconds of the server's clock, greater than
all before. The greatest score therefore names the set of events that a row was derived from: rows
carry it as their created timestamp, and of two rows the row of the fuller set wins.

Redis must not evict these keys (maxmemory-policy noeviction, or volatile-*: they never expire).
What it loses, all at once or key by key, is noticed and taken from the journal again; so is what
`serving.live.departures` removes of users who left.
"""

import hashlib
import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
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
elseif added == 0 then
  stamp = string.format('%.0f', top)
end
local count = redis.call('ZCARD', key)
if redis.call('ZSCORE', key, '') then count = count - 1 end
return {stamp, count - added, count, redis.call('ZRANGEBYSCORE', key, '(' .. seen, '+inf')}
"""

# Names what Redis has: a token that is gone when it was emptied, and the run of the server. One
# that was started again, or promoted, may have an older state of everything, also of the token.
_EPOCH = """
if ARGV[1] ~= '' then redis.call('SET', KEYS[1], ARGV[1], 'NX') end
local function told(section, field)
  local info = redis.pcall('INFO', section)
  return type(info) == 'string' and string.match(info, field .. ':([%w-]+)') or ''
end
local policy = ''
if ARGV[1] ~= '' then policy = told('memory', 'maxmemory_policy') end
return {redis.call('GET', KEYS[1]), told('server', 'run_id'), policy}
"""

# How much of each file of the journal what Redis has follows from, on one preparation. Redis has it
# beside the rest, so that an older state has the place that it followed from.
_PLACE = """
local key, to, anew, run = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local info = redis.pcall('INFO', 'server')
if type(info) ~= 'string' or string.match(info, 'run_id:([%w-]+)') ~= run then return end
if redis.call('HGET', key, 'to') ~= to then
  if anew ~= '1' then return end
  redis.call('DEL', key)
  redis.call('HSET', key, 'to', to)
end
for i = 4, #ARGV, 2 do
  if tonumber(redis.call('HGET', key, ARGV[i]) or '0') < tonumber(ARGV[i + 1]) then
    redis.call('HSET', key, ARGV[i], ARGV[i + 1])
  end
end
"""

_N_ALWAYS = Event._fields.index("received")  # fields that each member has
_SCRIPTS = (_ADD, _EPOCH, _PLACE)
_ADD_SHA, _EPOCH_SHA, _PLACE_SHA = (
    hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest() for script in _SCRIPTS
)

_log = logging.getLogger(__name__)


class LiveKey(NamedTuple):
    """Whose events: kind is "user" or "item"."""

    kind: str
    entity_id: str


class Addition(NamedTuple):
    """What is added to one key, and the newest score that the caller has read of it."""

    members: Sequence[bytes]
    seen: int


class Read(NamedTuple):
    """One key after an addition: the newest score, and the events that are new to the reader.

    It had `n_before` events before the addition, and has `n_events` now.
    """

    created: int
    n_before: int
    n_events: int
    members: list[bytes]


class LiveLog:
    """The live events of one project. All methods raise StoreUnavailableError as `Transport`."""

    def __init__(self, transport: Transport, project: str) -> None:
        self._transport = transport
        self._prefix = f"fusion:live:{project}:"
        self._epoch = f"{self._prefix}epoch"
        self._place = f"{self._prefix}place"

    @property
    def n_broken(self) -> int:
        """See `Transport`."""
        return self._transport.n_broken

    def add(
        self, additions: Mapping[LiveKey, Addition], *, touch: bool = False
    ) -> tuple[str | None, dict[LiveKey, Read]]:
        """The epoch of the log, and what each key has after its addition.

        Atomic per key, and safe to repeat. With `touch` the newest score rises also where no
        event is new.
        """
        calls: list[tuple[bytes | int | str, ...]] = [
            ("EVALSHA", _ADD_SHA, 1, self._name(key), each.seen, int(touch), *each.members)
            for key, each in additions.items()
        ]
        epoch, *replies = self._transport.write([self._ask(""), *calls], scripts=_SCRIPTS)
        reads = [Read(int(stamp), *rest) for stamp, *rest in replies]
        return _name_epoch(epoch), dict(zip(additions, reads, strict=True))

    def open(self, token: str) -> str:
        """The epoch, which has `token` unless it has another one already."""
        (reply,) = self._transport.write([self._ask(token)], scripts=_SCRIPTS)
        policy = reply[2].decode()
        if policy.startswith("allkeys-"):
            _log.warning(
                "Redis: got maxmemory-policy %s, which drops features and live events when memory "
                "is short, expected noeviction or volatile-*. Set it, and a larger maxmemory.",
                policy,
            )
        return str(_name_epoch(reply))

    def epoch(self) -> str | None:
        """The epoch that is there; None when Redis was emptied since it was opened."""
        return _name_epoch(self._transport.write([self._ask("")], scripts=_SCRIPTS)[0])

    def _ask(self, token: str) -> tuple[bytes | int | str, ...]:
        return ("EVALSHA", _EPOCH_SHA, 1, self._epoch, token)

    def place(self, to: str) -> dict[str, int] | None:
        """By file of the journal, how much of it has been applied on the preparation `to`.

        None where nothing is known, or what is there is on another preparation.
        """
        (reply,) = self._transport.write([("HGETALL", self._place)])
        fields = [field.decode() for field in reply]
        place = dict(zip(fields[::2], fields[1::2], strict=True))
        if place.pop("to", None) != to:
            return None
        return {name: int(end) for name, end in place.items()}

    def keep_place(
        self, to: str, epoch: str, ends: Mapping[str, int], *, anew: bool = False
    ) -> None:
        """Keeps how much of files is applied on the preparation `to`, in the epoch `epoch`.

        Nothing is kept where the server is another one: it may lack what was applied.

        anew : `to` takes the place of another preparation; else nothing is kept beside another
        """
        run = epoch.rpartition("/")[2]
        pairs = [each for pair in ends.items() for each in pair]
        call = ("EVALSHA", _PLACE_SHA, 1, self._place, to, int(anew), run, *pairs)
        self._transport.write([call], scripts=_SCRIPTS)

    def remove(self, members: Mapping[LiveKey, Sequence[bytes]]) -> None:
        """Removes events that prepare folded in so long ago that every process knows."""
        if members:
            self._transport.write(
                [("ZREM", self._name(key), *each) for key, each in members.items()]
            )

    def drop_users(self, user_ids: Sequence[str]) -> None:
        """Removes all events of users; the journal has them."""
        self._transport.write(
            [("DEL", self._name(LiveKey("user", user_id))) for user_id in user_ids]
        )

    def forget_user(self, user_id: str, item_ids: Collection[str]) -> int:
        """Removes the live events of a user, those of items included; how many were of items.

        item_ids : with which the user had live events
        """
        keys = [LiveKey("item", item_id) for item_id in item_ids]
        reads = self._transport.write([("ZRANGE", self._name(key), 0, -1) for key in keys])
        theirs = {
            key: [member for member in members if _is_of(member, user_id)]
            for key, members in zip(keys, reads, strict=True)
        }
        theirs = {key: members for key, members in theirs.items() if members}
        self.remove(theirs)
        self.drop_users([user_id])
        self._transport.write([("ZREM", f"{self._prefix}active", user_id)])
        return sum(map(len, theirs.values()))

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


def members_by_key(events: Iterable[Event]) -> dict[LiveKey, list[bytes]]:
    """The members of each user and item of the events."""
    members: dict[LiveKey, list[bytes]] = {}
    for event in events:
        for key in keys_of(event):
            members.setdefault(key, []).append(encode_member(event))
    return members


def _is_of(member: bytes, user_id: str) -> bool:
    return bool(member) and decode_members([member])[0].user_id == user_id


def decode_members(members: Iterable[bytes]) -> list[Event]:
    """The events of members, in their order; `received` is 0."""
    joined = b",".join(member for member in members if member)
    return [
        Event._make([*fields[:_N_ALWAYS], 0, next(iter(fields[_N_ALWAYS:]), None)])
        for fields in json.loads(b"[" + joined + b"]")
    ]


def _name_epoch(reply: Sequence[bytes | None]) -> str | None:
    token, run, _ = reply
    return None if token is None or run is None else f"{token.decode()}/{run.decode()}"
