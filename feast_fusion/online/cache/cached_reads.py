"""Reads that go to Redis only for rows that the item cache does not hold."""

from collections.abc import Sequence

from feast.infra.online_stores.helpers import _redis_key_prefix
from redis import Redis

from feast_fusion.online.cache.invalidation import InvalidationListener
from feast_fusion.online.cache.row_cache import CacheStats, RowCache
from feast_fusion.online.redis.transport import ReadGroup, Reply, Transport


class CachedReads:
    """`Transport.read` with a `RowCache` before it, for the entities of some join keys.

    Parameters
    ----------
    client : of the same Redis; its settings are used for the connection that listens
    join_keys : each alone is the key of entities whose rows are kept
    max_bytes : bound of the cache
    """

    def __init__(
        self, transport: Transport, client: Redis, join_keys: Sequence[str], max_bytes: int
    ) -> None:
        self._transport = transport
        self._prefixes: tuple[bytes, ...] = tuple(_redis_key_prefix([key]) for key in join_keys)
        self._cache = RowCache(max_bytes)
        self._listener = InvalidationListener(client, self._cache, self._prefixes)
        self._listener.start()

    @property
    def stats(self) -> CacheStats:
        """What the cache did and holds."""
        return self._cache.stats

    def wait_until_open(self, timeout_s: float) -> bool:
        """Whether the cache is in use, after waiting for it if need be."""
        return self._listener.wait_until_open(timeout_s)

    def read(self, groups: Sequence[ReadGroup]) -> list[list[Reply]]:
        """As `Transport.read`."""
        token = self._cache.begin()
        known = [self._known(group) for group in groups]
        asked = [_missing(group, rows) for group, rows in zip(groups, known, strict=True)]
        answers = self._transport.read(asked)
        for group, replies in zip(asked, answers, strict=True):
            if self._is_kept(group):
                fields_id = self._cache.register(group.fields)
                self._cache.put(fields_id, group.keys, replies, token)
        return [_merge(rows, replies) for rows, replies in zip(known, answers, strict=True)]

    def close(self) -> None:
        """Stop listening, and forget everything."""
        self._listener.close()

    def _known(self, group: ReadGroup) -> list[Reply | None]:
        if not self._is_kept(group):
            return [None] * len(group.keys)
        return self._cache.get(self._cache.register(group.fields), group.keys)  # type: ignore[return-value]

    def _is_kept(self, group: ReadGroup) -> bool:
        """Keys of a group have the same join keys."""
        return bool(group.keys) and group.keys[0].startswith(self._prefixes)


def _missing(group: ReadGroup, rows: Sequence[Reply | None]) -> ReadGroup:
    if None not in rows:
        return ReadGroup((), group.fields)
    keys = [key for key, row in zip(group.keys, rows, strict=True) if row is None]
    return ReadGroup(keys, group.fields)


def _merge(rows: list[Reply | None], replies: list[Reply]) -> list[Reply]:
    """The known rows, and the replies in the places of the others."""
    if len(replies) == len(rows):
        return replies
    if not replies:
        return rows  # type: ignore[return-value]
    rest = iter(replies)
    return [next(rest) if row is None else row for row in rows]
