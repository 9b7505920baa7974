"""The skew audit finds each kind of planted skew where it is, and takes lateness for no skew."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from click.testing import CliRunner
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Array, Float32, Float64, Int64, String
from hypothesis import given, settings
from hypothesis import strategies as st

from cli import main
from feast_fusion.errors import SchemaError
from feast_fusion.online.codec.value_decoding import decoder_of
from feast_fusion.online.codec.vector_encoding import encode_int8_vectors
from feast_fusion.times import TIMESTAMP
from intake.event import Event
from tests.datasets import make_films
from tests.feast_fusion.retrieval.offline_repo import make_store
from training.audit.feature_skew import (
    EXACT,
    FLOAT16,
    FLOAT32,
    INT8,
    FeatureSkew,
    compare_feature,
)
from training.audit.skew_audit import audit_served, logged_columns
from training.audit.skew_report import SkewReport
from training.audit.version_matching import APPLIED_WITHIN_US, Versions, match_versions

SECOND = 1_000_000
START = datetime(2024, 1, 1, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
START_US = (START - EPOCH) // timedelta(microseconds=1)
WIDTH, ENCODER = 4, "small_0a1b"
LISTS, VECTORS = pa.list_(pa.string()), pa.list_(pa.float32())
Row = dict[str, Any]


def compare(
    served: Sequence[Any], offline: Sequence[Any], kind: pa.DataType, **options: Any
) -> FeatureSkew:
    columns = (pa.chunked_array([pa.array(side, kind)]) for side in (served, offline))
    return compare_feature("f", *columns, **options)


def counts(skew: FeatureSkew) -> tuple[int, ...]:
    return skew.equal, skew.missing, skew.extra, skew.different, skew.rewritten


NAN = float("nan")


@pytest.mark.parametrize(
    ("kind", "values", "other"),
    [
        (pa.int64(), [3, 4], 5),
        (pa.float64(), [0.1, NAN], 0.1 + 1e-12),
        (pa.float32(), [1.0, float("inf")], 1.000001),
        (pa.string(), ["ab", ""], "ba"),
        (LISTS, [["a", "b"], []], ["b", "a"]),
        (LISTS, [["a", None], ["b"]], ["a", "b"]),
        (pa.list_(pa.int64()), [[1, 2], [3]], [1, 2, 3]),
        (pa.list_(pa.float32()), [[1.0, NAN], [2.0]], [1.0, 2.0]),
    ],
)
def test_counts_equal_missing_extra_and_different(
    kind: pa.DataType, values: list[Any], other: Any
) -> None:
    served = [values[0], values[1], None, values[0], None, other, values[1]]
    offline = [values[0], values[1], values[0], None, None, values[0], values[0]]
    found = compare(served, offline, kind)
    assert counts(found) == (3, 1, 1, 2, 0)
    assert [example.kind for example in found.examples] == ["missing", "extra"] + ["different"] * 2
    excused = compare(served, offline, kind, may_be_rewritten=np.ones(7, dtype=bool))
    assert counts(excused) == (3, 0, 0, 0, 4)
    assert excused.examples == ()


def test_differences_of_numbers_are_measured() -> None:
    found = compare([1.0, 10.0, None, 4.0], [1.0, 8.0, 1.0, 5.0], pa.float64())
    assert (found.max_absolute, found.max_relative) == (2.0, 0.2)
    assert found.min_cosine is None
    assert compare([], [], pa.float64()).max_absolute == 0.0
    assert compare(["a"], ["b"], pa.string()).max_absolute is None


def test_the_lowest_cosine_of_vectors_is_measured() -> None:
    served = [[1.0, 0.0], [0.6, 0.8], [0.0, 0.0], None]
    offline = [[1.0, 0.0], [0.8, 0.6], [0.0, 0.0], [1.0, 0.0]]
    found = compare(served, offline, VECTORS, is_vector=True)
    assert counts(found) == (2, 1, 0, 1, 0)
    assert found.min_cosine == pytest.approx(0.96)
    assert compare([None], [None], VECTORS, is_vector=True).min_cosine is None


@given(
    st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=2**-99, max_value=2**99)
)
def test_a_float32_may_be_one_rounding_off_and_no_more(value: float) -> None:
    steps = [np.float32(value)]
    for _ in range(3):
        steps.append(np.nextafter(steps[-1], np.float32(np.inf)))
    left = np.full(4, steps[0], np.float64)
    unequal = FLOAT32.unequal(left, np.array(steps, np.float64))
    assert unequal.tolist()[:2] == [False, False]
    assert unequal[3]
    assert EXACT.unequal(left, np.array(steps, np.float64))[1:].all()


def test_float16_vectors_are_equal_to_what_they_were_made_of() -> None:
    vectors = np.random.default_rng(1).normal(size=(50, 8)).astype(np.float32)
    stored = vectors.astype(np.float16).astype(np.float32)
    found = compare(stored.tolist(), vectors.tolist(), VECTORS, is_vector=True, rounding=FLOAT16)
    assert counts(found) == (50, 0, 0, 0, 0)
    assert counts(compare(stored.tolist(), vectors.tolist(), VECTORS))[3] > 40


def test_int8_vectors_are_equal_to_what_they_were_made_of_and_to_nothing_farther() -> None:
    field = Field(name="v", dtype=Array(Float32), vector_index=True, vector_length=64)
    vectors = np.random.default_rng(1).normal(size=(50, 64)).astype(np.float32)
    vectors *= np.logspace(-3, 3, 50, dtype=np.float32)[:, None]
    stored, _ = decoder_of("w", field).column(encode_int8_vectors(vectors))
    assert isinstance(stored, np.ndarray)
    close: Any = {"is_vector": True, "rounding": INT8}
    assert counts(compare(stored.tolist(), vectors.tolist(), VECTORS, **close))[0] == 50
    assert counts(compare(stored.tolist(), vectors.tolist(), VECTORS))[3] == 50
    sizes = np.abs(vectors).max(axis=1, keepdims=True)
    farther = np.where(stored < vectors, vectors - sizes / 120, vectors + sizes / 120)
    found = compare(farther.tolist(), vectors.tolist(), VECTORS, **close)
    assert counts(found)[3] == 50


def test_texts_are_not_shown() -> None:
    for kind, value in ((pa.string(), "secret"), (LISTS, ["secret"])):
        for served in (value, None):
            found = compare([served], [value[::-1] if kind != LISTS else ["other"]], kind)
            assert found.mismatches == 1
            assert not any(text in str(found) for text in ("secret", "terces", "other"))


def test_types_that_cannot_be_compared_are_an_error() -> None:
    served = pa.chunked_array([["a"]])
    with pytest.raises(SchemaError, match="another version of the service"):
        compare_feature("f", served, pa.chunked_array([[1]]))


# --- versions: a service that applies events late, in their order of arrival


@dataclass(frozen=True)
class Live:
    """An event of one user: a number that no other has, and when it arrived and was applied."""

    number: int
    time: int
    received: int
    applied: int


def stream(times: list[int], gaps: list[int], delays: list[int]) -> list[Live]:
    found, received, applied = [], START_US, 0
    for at, (time, gap, delay) in enumerate(zip(times, gaps, delays, strict=True)):
        received += gap
        applied = max(applied, received + min(delay, APPLIED_WITHIN_US - 1))
        found.append(Live(1 << at, time, received, applied))
    return found


def state(events: Sequence[Live], until: int) -> tuple[int | None, int | None]:
    """Stamp and value of the user's row of the given events that are stamped `until` or before."""
    known = [event for event in events if event.time + 1 <= until]
    if not known:
        return None, None
    return max(event.time for event in known) + 1, sum(event.number for event in known)


def skew_of(
    events: list[Live],
    requests: list[int],
    plant: Callable[[int], int | None] = lambda value: value,
    misjudge: Callable[[Versions, list[int]], Versions] = lambda versions, requests: versions,
) -> FeatureSkew:
    """What the audit says of requests answered from the events that had been applied by then."""
    served = [state([e for e in events if e.applied <= at], 1 << 60) for at in requests]
    versions = match_versions(
        ["u"] * len(requests),
        np.array(requests, np.int64),
        [stamp for stamp, _ in served],
        pl.DataFrame({"key": ["u"] * len(events), "ts": [e.time + 1 for e in events]}),
        pl.DataFrame(
            [("u", e.time, e.received) for e in events],
            schema={"key": pl.String, "time": pl.Int64, "received": pl.Int64},
            orient="row",
        ),
    )
    versions = misjudge(versions, requests)
    rows = np.flatnonzero(versions.comparable)
    values = [served[row][1] for row in rows]
    planted = [None if value is None else plant(value) for value in values]
    offline = [state(events, int(versions.as_of[row]))[1] for row in rows]
    excused = versions.may_be_rewritten[rows]
    return compare(planted, offline, pa.int64(), may_be_rewritten=excused)


TIMES = st.integers(0, 30).map(lambda s: START_US + s * SECOND)
STEPS = st.lists(
    st.tuples(TIMES, st.integers(0, 20 * SECOND), st.integers(0, 9 * SECOND)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=150)
@given(STEPS, st.lists(st.integers(0, 200 * SECOND), min_size=1, max_size=8))
def test_late_events_and_events_applied_late_are_no_mismatch(
    steps: list[tuple[int, int, int]], requests: list[int]
) -> None:
    events = stream(*map(list, zip(*steps, strict=True)))
    found = skew_of(events, [START_US + at for at in requests])
    assert found.mismatches == 0, found


def nothing(versions: Versions, name: str) -> Versions:
    return replace(versions, **{name: np.zeros(len(versions.as_of), dtype=bool)})


@pytest.mark.parametrize(
    "misjudge",
    [
        lambda versions, requests: nothing(versions, "may_be_rewritten"),
        lambda versions, requests: nothing(versions, "unapplied"),
        lambda versions, requests: replace(versions, as_of=np.array(requests, np.int64)),
    ],
    ids=["late events ignored", "absent rows all due", "newest row expected"],
)
def test_the_simulation_tells_a_misjudged_version(
    misjudge: Callable[[Versions, list[int]], Versions],
) -> None:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(30):
        times = (START_US + rng.integers(0, 30, 8) * SECOND).tolist()
        gaps, delays = rng.integers(0, 5 * SECOND, 8), rng.integers(0, 9 * SECOND, 8)
        events = stream(times, gaps.tolist(), delays.tolist())
        requests = (START_US + rng.integers(0, 40 * SECOND, 5)).tolist()
        assert skew_of(events, requests).mismatches == 0
        found.append(skew_of(events, requests, misjudge=misjudge).mismatches)
    assert sum(found) > 0


def test_views_that_wait_for_materialization_may_be_absent_until_then() -> None:
    requests = np.array([START_US + at * SECOND for at in (5, 60, 60, 60)], np.int64)
    history = pl.DataFrame({"key": ["u", "old"], "ts": [START_US + 1, START_US + 1]})
    events = pl.DataFrame({"key": ["u"], "time": [START_US], "received": [START_US]})
    keys = ["u", "u", "old", "nobody"]
    none = [None] * 4
    live = match_versions(keys, requests, none, history, events)
    assert live.unapplied.tolist() == [True, False, False, False]
    before = np.full(4, START_US - SECOND)
    batch = match_versions(keys, requests, none, history, events, before)
    assert batch.unapplied.tolist() == [True, True, False, False]
    since = np.full(4, START_US + SECOND)
    materialized = match_versions(keys, requests, none, history, events, since)
    assert not materialized.unapplied.any()


@settings(max_examples=60)
@given(
    st.lists(st.integers(SECOND // 4, 20 * SECOND), min_size=1, max_size=10),
    st.lists(st.integers(0, 200 * SECOND), min_size=1, max_size=8),
    st.integers(0, SECOND // 5),
)
def test_one_event_off_is_found_in_every_row_when_events_come_in_order(
    gaps: list[int], requests: list[int], delay: int
) -> None:
    times = (START_US + np.cumsum(gaps)).tolist()
    events = stream(times, gaps, [delay] * len(gaps))
    asked = [START_US + at for at in requests]
    clean = skew_of(events, asked)
    assert (clean.mismatches, clean.rewritten) == (0, 0)
    n_served = sum(
        state([e for e in events if e.applied <= at], 1 << 60)[1] is not None for at in asked
    )
    assert skew_of(events, asked, lambda value: value & (value - 1)).different == n_served


# --- the audit on a small repository


@dataclass(frozen=True)
class Repo:
    """Two views of users and items, and rows served from them, as a log has them."""

    store: FeatureStore
    service: FeatureService
    events: list[Event]
    served: pa.Table

    def audit(self, served: pa.Table | None = None, **options: Any) -> SkewReport:
        table = self.served if served is None else served
        return audit_served(table, self.store, self.service, self.events, **options)

    def mismatches(self, served: pa.Table) -> dict[str, tuple[int, int, int]]:
        """missing, extra, different of the features that have any."""
        features = [f for view in self.audit(served).views for f in view.features]
        return {f.feature: (f.missing, f.extra, f.different) for f in features if f.mismatches}

    def without_row(self, row: int = 7) -> pa.Table:
        table = self.served
        for at, name in enumerate(table.column_names):
            if name.startswith("user_stats__"):
                values = table[name].to_pylist()
                values[row] = None
                table = table.set_column(at, name, pa.array(values, table[name].type))
        return table

    def planted(self, name: str, change: Callable[[Any], Any], row: int = 7) -> pa.Table:
        column = self.served[name]
        values = column.to_pylist()
        values[row] = change(values[row])
        at = self.served.column_names.index(name)
        return self.served.set_column(at, name, pa.array(values, column.type))


def user_rows(events: Sequence[Event]) -> list[Row]:
    """user_stats after each event of each user, who were all known a day before."""
    rows = []
    for user in sorted({event.user_id for event in events}):
        own = sorted((e for e in events if e.user_id == user), key=lambda e: e.time)
        for n in range(len(own) + 1):
            values = [event.value or 0.0 for event in own[:n]]
            stamp = own[n - 1].time + 1 if n else START_US - 86_400 * SECOND
            tags = [event.item_id for event in own[:n]][::-1]
            mean = sum(values) / n if n else None
            rows.append({"user_id": user, "ts": stamp, "n": n, "mean": mean, "tags": tags})
    return rows


def newest(rows: Sequence[Row], user: str, at: int) -> Row:
    return max((r for r in rows if r["user_id"] == user and r["ts"] <= at), key=lambda r: r["ts"])


def times(micros: Sequence[int | None]) -> pa.Array:
    return pa.array(micros, pa.int64()).cast(TIMESTAMP)


def serve(rows: list[Row], vectors: Any, events: Sequence[Event]) -> pa.Table:
    rng = np.random.default_rng(5)
    served = []
    for _ in range(40):
        user, item = f"u{rng.integers(4)}", int(rng.integers(6))
        at = START_US + int(rng.integers(1000)) * SECOND
        row = newest(rows, user, at)
        vector = None if item == 5 else vectors[item].tolist()
        stamp = None if item == 5 else START_US - SECOND
        served.append(
            (user, f"i{item}", at, row["n"], row["mean"], row["tags"], vector, row["ts"], stamp)
        )
    columns = list(zip(*served, strict=True))
    types = (pa.string(), pa.string(), None, pa.int64(), pa.float64(), LISTS, VECTORS, None, None)
    names = ("user_id", "item_id", "event_timestamp", "user_stats__n", "user_stats__mean",
             "user_stats__tags", "item_embedding", "user_stats__event_timestamp",
             f"item_embedding__{ENCODER}__event_timestamp")  # fmt: skip
    arrays = [
        times(c) if t is None else pa.array(c, t) for c, t in zip(columns, types, strict=True)
    ]
    return pa.table(arrays, names=names)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    folder = tmp_path_factory.mktemp("skew")
    rng = np.random.default_rng(2)
    events = []
    for number in range(60):
        at = START_US + number * 15 * SECOND
        user, item, value = f"u{rng.integers(4)}", f"i{rng.integers(6)}", float(rng.integers(1, 6))
        events.append(Event(f"e{number}", user, item, at, value, None, at + 1000))
    rows = user_rows(events)
    vectors = rng.normal(size=(6, WIDTH)).astype(np.float32)
    user_table = {name: [row[name] for row in rows] for name in ("user_id", "n", "mean", "tags")}
    stamps = pl.Series(
        times([row["ts"] for row in rows]).to_pylist(), dtype=pl.Datetime("us", "UTC")
    )
    pl.DataFrame(user_table | {"event_timestamp": stamps}).write_parquet(folder / "users.parquet")
    item_table = {
        "item_id": [f"i{n}" for n in range(5)],
        "event_timestamp": pl.Series(
            [START - timedelta(seconds=1)] * 5, dtype=pl.Datetime("us", "UTC")
        ),
        "item_embedding": pl.Series(vectors[:5].tolist(), dtype=pl.List(pl.Float32)),
    }
    pl.DataFrame(item_table).write_parquet(folder / "items.parquet")
    store = apply_views(folder)
    return Repo(store, store.get_feature_service("ranker"), events, serve(rows, vectors, events))


def apply_views(folder: Path) -> FeatureStore:
    def source(name: str) -> FileSource:
        path = str(folder / f"{name}.parquet")
        return FileSource(name=name, path=path, timestamp_field="event_timestamp")

    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    item = Entity(name="item", join_keys=["item_id"], value_type=ValueType.STRING)
    user_stats = FeatureView(
        name="user_stats",
        entities=[user],
        ttl=timedelta(0),
        schema=[
            Field(name="n", dtype=Int64),
            Field(name="mean", dtype=Float64),
            Field(name="tags", dtype=Array(String)),
        ],
        source=source("users"),
    )
    vector = Field(
        name="item_embedding", dtype=Array(Float32), vector_index=True, vector_length=WIDTH
    )
    item_embedding = FeatureView(
        name=f"item_embedding__{ENCODER}",
        entities=[item],
        ttl=timedelta(0),
        schema=[vector],
        source=source("items"),
    )
    service = FeatureService(name="ranker", features=[user_stats, item_embedding])
    return make_store(folder, [user, item, user_stats, item_embedding, service])


def test_what_was_served_right_has_no_mismatch(repo: Repo) -> None:
    assert set(logged_columns(repo.service)) == set(repo.served.column_names)
    report = repo.audit(folded_at=datetime.now(UTC))
    assert report.is_clean, report.lines()
    features = {f.feature: f for view in report.views for f in view.features}
    assert {name: f.equal for name, f in features.items()} == dict.fromkeys(features, 40)
    assert len(features) == 4
    assert features["item_embedding"].min_cosine == pytest.approx(1)
    assert [(view.behind, view.ahead, view.unfolded) for view in report.views] == [(0, 0, 0)] * 2


def test_each_planted_skew_is_found_and_named(repo: Repo) -> None:
    swapped = repo.served["item_embedding"].to_pylist()[7][::-1]
    absent = repo.served["item_embedding"].null_count
    without_vector = repo.served["item_id"].to_pylist().index("i5")
    assert absent > 0
    found = {
        "scaled": repo.mismatches(repo.planted("user_stats__mean", lambda mean: mean * 1.01)),
        "swapped": repo.mismatches(repo.planted("item_embedding", lambda _: swapped)),
        "null": repo.mismatches(repo.planted("user_stats__n", lambda _: None)),
        "extra": repo.mismatches(
            repo.planted("item_embedding", lambda _: swapped, row=without_vector)
        ),
        "order": repo.mismatches(repo.planted("user_stats__tags", lambda tags: tags[::-1])),
        "one event less": repo.mismatches(repo.planted("user_stats__n", lambda n: n - 1)),
        "row gone": repo.mismatches(repo.without_row()),
    }
    assert found == {
        "scaled": {"user_stats__mean": (0, 0, 1)},
        "swapped": {"item_embedding": (0, 0, 1)},
        "null": {"user_stats__n": (1, 0, 0)},
        "extra": {"item_embedding": (0, 1, 0)},
        "order": {"user_stats__tags": (0, 0, 1)},
        "one event less": {"user_stats__n": (0, 0, 1)},
        "row gone": {f"user_stats__{name}": (1, 0, 0) for name in ("n", "mean", "tags")},
    }


def test_a_row_that_was_behind_is_compared_with_what_was_served(repo: Repo) -> None:
    rows = user_rows(repo.events)
    at, user = START_US + 900 * SECOND, "u1"
    old, new = newest(rows, user, at - 400 * SECOND), newest(rows, user, at)
    assert old["ts"] < new["ts"]
    between = min(r["ts"] for r in rows if r["user_id"] == user and r["ts"] > old["ts"])
    served = {name: repo.served.slice(7, 1)[name].to_pylist() for name in repo.served.column_names}
    served |= {"user_id": [user], "event_timestamp": [EPOCH + timedelta(microseconds=at)]}
    served |= {f"user_stats__{name}": [old[name]] for name in ("n", "mean", "tags")}
    served["user_stats__event_timestamp"] = [EPOCH + timedelta(microseconds=old["ts"])]
    report = repo.audit(pa.table(served, schema=repo.served.schema))
    assert report.is_clean, report.lines()
    stats = report.views[0]
    assert (stats.view, stats.behind) == ("user_stats", 1)
    assert stats.max_behind_s == pytest.approx((at - between + 1 - 1000) / SECOND)
    assert any("were behind" in line for line in report.lines())
    served["user_stats__n"] = [new["n"]]  # the old row's stamp with the newer row's count
    assert repo.mismatches(pa.table(served, schema=repo.served.schema)) == {
        "user_stats__n": (0, 0, 1)
    }


def test_versions_that_are_not_folded_yet_are_told_apart(repo: Repo) -> None:
    at = START_US + 2000 * SECOND
    event = Event("new", "u2", "i1", at, 5.0, None, at + 1000)
    served = repo.planted(
        "user_stats__event_timestamp", lambda _: EPOCH + timedelta(microseconds=at + 1)
    )
    served = served.set_column(0, "user_id", [["u2"] * 40]).slice(7, 1)
    later = pa.array([EPOCH + timedelta(microseconds=at + SECOND)], TIMESTAMP)
    served = served.set_column(2, "event_timestamp", [later])
    events = [*repo.events, event]
    waiting = audit_served(served, repo.store, repo.service, events)
    assert waiting.is_clean
    assert [view.unfolded for view in waiting.views] == [1, 0]
    assert any("audit without --no-fold" in line for line in waiting.lines())
    folded = audit_served(served, repo.store, repo.service, events, folded_at=datetime.now(UTC))
    assert not folded.is_clean
    assert [view.unfolded for view in folded.views] == [0, 0]


def test_the_report_names_ids_and_values_of_at_most_five_examples(repo: Repo) -> None:
    at = repo.served.column_names.index("user_stats__n")
    scaled = pa.array([n + 1000 for n in repo.served["user_stats__n"].to_pylist()])
    report = repo.audit(repo.served.set_column(at, "user_stats__n", scaled))
    examples = [line for line in report.lines() if line.startswith("different: ")]
    assert len(examples) == 5
    first = repo.served.slice(0, 1).to_pylist()[0]
    assert (
        f"user {first['user_id']}, item {first['item_id']} at {first['event_timestamp']}"
        in (examples[0])
    )
    assert (
        f"served {first['user_stats__n'] + 1000}, offline {first['user_stats__n']}" in examples[0]
    )
    assert report.to_dict()["mismatches"] == 40
    assert report.lines()[0] == "Skew audit: 40 mismatches in 40 served rows x 4 features."


def test_a_log_of_another_service_is_refused(repo: Repo) -> None:
    with pytest.raises(SchemaError, match="Audit the feature service that was served"):
        repo.audit(repo.served.drop_columns(["item_embedding"]))


def test_audit_without_a_command_is_the_one_for_leakage(tmp_path: Path) -> None:
    variables = {
        "FUSION_DATASET": str(make_films(tmp_path, n_users=6, n_items=5, n_events=9)),
        "FUSION_HOME": str(tmp_path / "home"),
    }
    runs = [
        CliRunner().invoke(main, command, env=variables)
        for command in (["audit"], ["audit", "leakage"])
    ]
    assert runs[0].exit_code == runs[1].exit_code == 1
    assert runs[0].output == runs[1].output
    assert "was never run in the home" in runs[0].output
