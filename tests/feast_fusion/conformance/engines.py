"""The combinations of plug-ins that are compared, each as a repository that lives in one process.

A case is a situation that a Feast user meets: a function that builds it in a `Repo` and returns
what the user sees. `right` is what a user should see; `recorded` holds what an engine answers
instead, as a fact, so a change of any engine shows. An answer may be `Raises`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.data_source import PushMode
from feast.types import FeastType

from cli.redis_process import RunningRedis
from feast_fusion.times import TIMESTAMP

Features: TypeAlias = FeatureService | list[str]

T = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
BEFORE, AFTER = T - 30 * DAY, T + 30 * DAY  # around every row of a case

_PATIENT = {"connect_timeout_ms": 5_000, "read_timeout_ms": 5_000, "deadline_ms": 20_000}


@dataclass(frozen=True)
class Engine:
    """Stores, batch engine and provider, as feature_store.yaml says them."""

    name: str
    offline: Mapping[str, Any]
    online: Mapping[str, Any]
    batch: Mapping[str, Any]
    provider: str = "local"


ENGINES = {
    each.name: each
    for each in (
        Engine(
            "ours",
            {"type": "feast_fusion.point_in_time.PointInTimeOfflineStore"},
            {"type": "feast_fusion.redis_matrix.MatrixRedisOnlineStore", **_PATIENT},
            {"type": "feast_fusion.history_engine.HistoryEngine"},
            "feast_fusion.checked_provider.CheckedProvider",
        ),
        Engine("duckdb", {"type": "duckdb"}, {"type": "redis"}, {"type": "local"}),
        Engine("file", {"type": "file"}, {"type": "redis"}, {"type": "local"}),
    )
}


@dataclass
class Repo:
    """One repository of one engine; its rows in Redis are its project's."""

    folder: Path
    engine: Engine
    server: RunningRedis
    project: str = "shop"
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_config()

    def _write_config(self) -> None:
        address = self.server.connection
        config = {
            "project": self.project,
            "provider": self.engine.provider,
            "registry": str(self.folder / "registry.db"),
            "offline_store": dict(self.engine.offline),
            "online_store": {"connection_string": address, **self.engine.online, **self.options},
            "batch_engine": dict(self.engine.batch),
            "entity_key_serialization_version": 3,
        }
        (self.folder / "feature_store.yaml").write_text(yaml.safe_dump(config))

    @cached_property
    def store(self) -> FeatureStore:
        return FeatureStore(repo_path=str(self.folder))

    @property
    def is_ours(self) -> bool:
        return self.engine.name == "ours"

    def reopened(self, **online_options: Any) -> "Repo":
        """The same repository as another process would open it, with options of the online store.

        The registry, the files and the rows in Redis are the same.
        """
        return Repo(self.folder, self.engine, self.server, self.project, online_options)

    def write(self, name: str, table: pa.Table) -> str:
        """`table` as a Parquet file below the repository; its path."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
        return str(path)

    def apply(self, *objects: Any) -> None:
        """Apply `objects`; the entity `USER` is always among them."""
        self.store.apply([USER, *objects])

    def materialize(self, start: datetime = BEFORE, end: datetime = AFTER) -> None:
        self.store.materialize(start, end, disable_event_timestamp=False)

    def push(
        self, source: str, rows: Mapping[str, Sequence[Any]], to: PushMode = PushMode.ONLINE
    ) -> None:
        self.store.push(source, pd.DataFrame(rows), to=to)

    def online(
        self, features: Features, entities: Mapping[str, Sequence[Any]], **options: Any
    ) -> dict[str, list[Any]]:
        """Columns of `get_online_features`, the entities' own left out."""
        rows = [
            dict(zip(entities, values, strict=True))
            for values in zip(*entities.values(), strict=True)
        ]
        answer = self.store.get_online_features(features, rows, **options).to_dict()
        return {name: values for name, values in answer.items() if name not in entities}

    def history(
        self,
        features: Features,
        entities: Mapping[str, Sequence[Any]],
        at: datetime = AFTER,
        **options: Any,
    ) -> dict[str, list[Any]]:
        """Columns of `get_historical_features` at one instant, the entities' own left out."""
        labels = pd.DataFrame({**entities, "event_timestamp": at})
        job = self.store.get_historical_features(labels, features, **options)
        found = job.to_arrow().to_pydict()
        return {k: v for k, v in found.items() if k not in (*entities, "event_timestamp")}

    def close(self) -> None:
        """Close the connections, so that no test leaves one open."""
        online = self.store._get_provider().online_store
        if self.is_ours:
            online.disconnect()
        elif getattr(online, "_client", None) is not None:
            online._client.close()


USER = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)


def rows_of(**columns: Any) -> pa.Table:
    """Rows of users at `T`: their ids are 1, 2, 3, ... where `columns` does not say them."""
    n = len(next(iter(columns.values())))
    given = {
        "user_id": pa.array(range(1, n + 1), pa.int64()),
        "event_timestamp": [T] * n,
        **columns,
    }
    if isinstance(given["event_timestamp"], list):
        given["event_timestamp"] = pa.array(given["event_timestamp"], TIMESTAMP)
    return pa.table(given)


def user_view(
    path: str,
    features: Mapping[str, FeastType],
    *,
    name: str = "users",
    entities: Sequence[Entity] = (USER,),
    source: Any = None,
    **options: Any,
) -> FeatureView:
    """A view of the file at `path`, keyed by user where `entities` does not say otherwise."""
    return FeatureView(
        name=name,
        entities=list(entities),
        ttl=timedelta(0),
        schema=[Field(name=feature, dtype=dtype) for feature, dtype in features.items()],
        source=source
        or FileSource(name=f"{name}_rows", path=path, timestamp_field="event_timestamp"),
        **options,
    )


@dataclass(frozen=True)
class Raises:
    """The answer of an engine that stops: a pattern that is in the type and text of its error."""

    pattern: str


@dataclass(frozen=True)
class Case:
    """A situation, the right answer, and the engines that answer otherwise.

    Attributes
    ----------
    run : builds the situation in a fresh repository and returns what the user sees
    right : what the user should see; ours has to answer it
    recorded : by engine, what stock answers instead, None where it cannot run the situation
    """

    run: Callable[[Repo], Any]
    right: Any
    recorded: Mapping[str, Any] = field(default_factory=dict)


def stock(answer: Any) -> dict[str, Any]:
    """An answer that stock gives with either offline store."""
    return {name: answer for name in ENGINES if name != "ours"}


def check(case: Case, repo: Repo) -> None:
    """Run a case in `repo` and compare its answer with the one that is right or recorded."""
    expected = case.recorded.get(repo.engine.name, case.right)
    if expected is None and repo.engine.name in case.recorded:
        pytest.skip("this engine cannot run the situation")
    try:
        answer = case.run(repo)
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        if isinstance(expected, Raises) and re.search(expected.pattern, said, re.DOTALL):
            return
        raise
    finally:
        repo.close()
    assert not isinstance(expected, Raises), f"got {answer!r}, expected an error: {expected}"
    assert same(answer, expected), f"got {answer!r}, expected {expected!r}"


def same(left: Any, right: Any) -> bool:
    """Equality in which NaN equals NaN, also inside of lists and dicts."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) and isinstance(right, float):
        return left == right or (left != left and right != right)
    return type(left) is type(right) and bool(left == right)
