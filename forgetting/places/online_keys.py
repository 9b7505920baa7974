"""Rows of a person in the online store, the person's live events there, and its snapshots."""

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pyarrow as pa
from feast import FeatureStore
from redis import Redis
from redis.exceptions import RedisError

from feast_fusion.online.codec.entity_keys import encode_keys
from feast_fusion.redis_matrix import online_store_of
from forgetting.case import Case, Surroundings
from serving.live.live_log import Addition, LiveKey, LiveLog

_KEY = "user_id"
_POLL_S = 0.02


def erase(case: Case) -> int:
    """Remove keys and events, then have snapshots made that lack them; how many were there."""
    store, n_erased = case.place.store, 0
    if store is None:
        return 0
    online, config = online_store_of(store), store.config
    log = LiveLog(online.transport(config.online_store), store.project)
    keys = [key for user_id in case.people for key in _entity_keys(store, user_id)]
    with online.scanning(config) as client:
        n_erased += sum(int(client.delete(key)) for key in keys)
        for user_id in case.people:
            n_erased += log.forget_user(user_id, case.evidence(user_id).items)
        if isinstance(client, Redis):
            _renew_snapshots(client)
    return n_erased


def read(place: Surroundings, user_id: str) -> Iterator[tuple[str, pa.Table]]:
    """The newest rows of a user, by view, and the live events."""
    store = place.store
    if store is None:
        return
    for view in _views(store):
        names = [f"{view.name}:{feature.name}" for feature in view.features]
        row = store.get_online_features(features=names, entity_rows=[{_KEY: user_id}]).to_dict()
        if any(values != [None] for name, values in row.items() if name != _KEY):  # else no row
            yield view.name, pa.table({name: pa.array(values) for name, values in row.items()})
    key = LiveKey("user", user_id)
    log = LiveLog(online_store_of(store).transport(store.config.online_store), store.project)
    _, reads = log.add({key: Addition([], 0)})  # adds nothing
    events = [member.decode() for member in reads[key].members if member]
    yield "live_events", pa.table({"event": pa.array(events, pa.string())})


def _views(store: FeatureStore) -> list[Any]:
    """The online views of users."""
    views = [*store.list_feature_views(), *store.list_batch_feature_views()]
    of_users = {view.name: view for view in views if view.online and view.join_keys == [_KEY]}
    return list(of_users.values())


def _entity_keys(store: FeatureStore, user_id: str) -> list[bytes]:
    """The key of all rows of a user: a hash that has those of every view."""
    kinds = {view.entity_columns[0].dtype.to_value_type() for view in _views(store)}
    return [encode_keys([_KEY], [[user_id]], [kind], store.config.project)[0] for kind in kinds]


def _renew_snapshots(client: Redis) -> None:
    """Has the server write anew the files that it keeps its data in, and waits for it."""
    with suppress(RedisError):  # it may refuse to say: then it has no file of ours
        kept: Any = client.config_get("save")
        if kept["save"]:
            _settled(client)  # one that is being written may have begun before
            client.bgsave()
    if _settled(client)["aof_enabled"]:
        client.execute_command("BGREWRITEAOF")  # type: ignore[no-untyped-call]
        _settled(client)


def _settled(client: Redis) -> dict[str, Any]:
    """What the server says of its files once it writes none."""
    while True:
        state: Any = client.info("persistence")
        busy = ("rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled")
        if not any(state[name] for name in busy):
            return dict(state)
        time.sleep(_POLL_S)
