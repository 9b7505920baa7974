"""Users who left: after a time without a live event, what Redis has of their live events goes.

The journal keeps the events. Who comes back has all again: an event finds that its set lacks what
the journal has, and a request finds the mark that stands in place of the rows
(`OnlineViews.mark_left`).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from feast_fusion.column_names import vector_view
from feast_fusion.online.redis.transport import Transport
from serving.live.followed_encoders import FollowedEncoders
from serving.live.live_log import LiveLog
from serving.live.prepared_history import PreparedHistory
from serving.online_views import OnlineViews
from transformations import names

# A sorted set of users, by when one of their live events was applied last, in microseconds of the
# server's clock.
_NOTE = """
local now = redis.call('TIME')
local stamp = string.format('%.0f', now[1] * 1000000 + now[2])
for _, user in ipairs(ARGV) do redis.call('ZADD', KEYS[1], stamp, user) end
"""
_LEFT = """
local now = redis.call('TIME')
local last = string.format('%.0f', now[1] * 1000000 + now[2] - ARGV[1])
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', last, 'WITHSCORES', 'LIMIT', 0, ARGV[2])
"""
_FORGET = """
for i = 1, #ARGV, 2 do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    redis.call('ZREM', KEYS[1], ARGV[i])
  end
end
"""
_SCRIPTS = (_NOTE, _LEFT, _FORGET)
_NOTE_SHA, _LEFT_SHA, _FORGET_SHA = (
    hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest() for script in _SCRIPTS
)
_AT_ONCE = 1_000  # users of one sweep


@dataclass(frozen=True)
class Departures:
    """The users with live events, and who of them had none for `ttl_s`.

    All processes note users, and any of them may sweep, also several at once. One that sweeps
    while a user returns takes away what is found missing as after any return. All methods raise
    StoreUnavailableError as `Transport`.

    Attributes
    ----------
    encoders : of the interest vectors
    """

    transport: Transport
    project: str
    log: LiveLog
    views: OnlineViews
    encoders: FollowedEncoders
    ttl_s: float

    def note(self, user_ids: Sequence[str]) -> None:
        """Live events of these users were applied now."""
        if user_ids:
            self._call(_NOTE_SHA, *user_ids)

    def sweep(self, history: PreparedHistory) -> None:
        """Removes the live events of users who left, and the rows of those who are not prepared.

        A prepared user keeps the rows: materializing made some that were as large.
        """
        found = self._call(_LEFT_SHA, f"{self.ttl_s * 1e6:.0f}", _AT_ONCE)
        if found:
            left = [user_id.decode() for user_id in found[::2]]
            new = [user_id for user_id in left if not history.events.has_user(user_id)]
            self.views.mark_left(self._live_views(), new)
            self.log.drop_users(left)
            self._call(_FORGET_SHA, *found)

    def _live_views(self) -> list[str]:
        """Those of users; the first one gets the mark."""
        views = [names.USER_RECENT, names.USER_STATS]
        return views + [vector_view(names.USER_INTEREST, each) for each in self.encoders.by_id]

    def _call(self, sha: str, *arguments: bytes | str | int) -> list[bytes]:
        key = f"fusion:live:{self.project}:active"
        command = ("EVALSHA", sha, 1, key, *arguments)
        [reply] = self.transport.write([command], scripts=_SCRIPTS)
        return reply or []
