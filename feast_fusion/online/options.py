"""The options of the online store, said once: they are what feature_store.yaml may say."""

from typing import Annotated, Any, Literal, Self

from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig, RedisType
from pydantic import Field, field_validator, model_validator

Milliseconds = Annotated[int, Field(ge=1)]


class OnlineStoreOptions(RedisOnlineStoreConfig):  # type: ignore[misc]
    """What `online_store` in feature_store.yaml may say, beside all that `type: redis` takes.

    Attributes
    ----------
    vector_encoding : "float32" is the stock layout; of vectors that are declared with a
        vector_length "float16" halves the bytes (cosine to the original at least 0.9999), and
        "int8" with a scale for each vector makes them a quarter (at least 0.999); only this store
        reads them, and it reads rows of any encoding, also beside one another
    connect_timeout_ms : to connect to one address
    read_timeout_ms, write_timeout_ms : how long no byte may come while Redis is asked
    deadline_ms : of a whole read, its wait for a free connection included
    write_deadline_ms : of one batch of a write, its retries included
    retries : how often a read is sent again where a kept connection turns out to be closed
    write_retries : how often a batch of a write is sent again after any lost connection
    breaker_failures : failed reads in a row after which reads fail at once
    breaker_cooldown_ms : how long they do, until one read is let through to try
    max_connections : for reading, and again for writing; whoever needs one more waits
    cache_mb : MiB of rows kept in the process, 0 for none; a row is forgotten when Redis says that
        it changed (single Redis or sentinel)
    cache_join_keys : rows of entities with one of these join keys are kept
    search_refresh_s : age at which the vectors that `retrieve_online_documents_v2` searches are
        brought in step with Redis, by a scan of all keys for which the search that is due waits
        (1.4 s at 100,000 rows); 0 does so at each search
    search_exact_rows : up to so many vectors are compared one by one; more are searched by
        inverted lists of faiss, where it is installed
    """

    vector_encoding: Literal["float32", "float16", "int8"] = "float32"
    connect_timeout_ms: Milliseconds = 40
    read_timeout_ms: Milliseconds = 40
    deadline_ms: Milliseconds = 250
    write_timeout_ms: Milliseconds = 5_000
    write_deadline_ms: Milliseconds = 15_000
    retries: Annotated[int, Field(ge=0)] = 1
    write_retries: Annotated[int, Field(ge=0)] = 3
    breaker_failures: Annotated[int, Field(ge=1)] = 3
    breaker_cooldown_ms: Milliseconds = 500
    max_connections: Annotated[int, Field(ge=1)] = 8
    cache_mb: Annotated[int, Field(ge=0)] = 0
    cache_join_keys: tuple[str, ...] = ()
    search_refresh_s: Annotated[float, Field(ge=0)] = 30.0
    search_exact_rows: Annotated[int, Field(ge=0)] = 20_000

    @field_validator("connection_string")
    @classmethod
    def _check_variables(cls, value: str) -> str:
        """Feast leaves a variable that is not set as it is written, and would then complain of it.

        This is looked at before the project's name.
        """
        if "${" in value:
            raise ValueError(
                f"got {value}, an environment variable that is not set, expected an address such "
                "as localhost:6379. Set it; for the repository of feast-fusion run "
                'eval "$(feast-fusion env)" in this shell first'
            )
        return value

    @model_validator(mode="after")
    def _check_cache(self) -> Self:
        if bool(self.cache_mb) != bool(self.cache_join_keys):
            raise ValueError("cache_mb and cache_join_keys need each other: give both or neither")
        if self.cache_mb and self.redis_type == RedisType.redis_cluster:
            raise ValueError("cache_mb: a cluster does not say what changed; leave it out")
        return self

    def resolved(self) -> Self:
        """These options, with what the connection string says about the same limits.

        Its `socket_timeout`, `socket_connect_timeout` and `max_connections` are what redis-py
        would obey.
        """
        _, given = RedisOnlineStore._parse_connection_string(self.connection_string)
        read_s = given.get("socket_timeout")
        limits = {
            "read_timeout_ms": _milliseconds(read_s),
            "connect_timeout_ms": _milliseconds(given.get("socket_connect_timeout", read_s)),
            "max_connections": given.get("max_connections"),
        }
        said: Self = self.model_copy(update={k: v for k, v in limits.items() if v is not None})
        return said


def _milliseconds(seconds: Any) -> int | None:
    return None if seconds is None else max(1, round(1000 * seconds))
