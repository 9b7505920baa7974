"""The leakage audit finds each kind of planted leak in the rows that have it, and no other."""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.data_format import ParquetFormat
from feast.types import Array, Float32, Int64, String
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.feast_repository import open_store
from feast_fusion.training_set import Indexed, TrainingSet
from tests.conftest import Project
from tests.feast_fusion.retrieval.offline_repo import make_store
from training.audit.leakage import Finding, audit_training_set
from training.retrieval import build_training_set
from training.spine import SPINE_COLUMNS
from training.split import Split
from transformations.names import ITEM_FACTORS, ITEM_NEIGHBOURS

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
INSTANT = timedelta(microseconds=1)
TTL = 5 * DAY
TIME = pl.Datetime("us", "UTC")
N_LABELS, WIDTH = 95, 4
ENCODER, OTHER = "small_0a1b", "large_9f8e"
Row = dict[str, Any]


@dataclass(frozen=True)
class Repo:
    """A tiny Feast repository: each label's event left one row of the user, all values distinct."""

    store: FeatureStore
    service: FeatureService
    labels: list[Row]
    rows: list[Row]

    def build(self) -> TrainingSet:
        return build_training_set(self.store, "ranker", pl.DataFrame(self.labels).to_arrow())

    def findings(self, training_set: TrainingSet, **options: Any) -> dict[tuple[str, str], int]:
        options = {"n_rows": 0} | options
        report = audit_training_set(training_set, self.store, self.service, **options)
        return {(f.kind, f.feature): f.count for f in report.findings}


def make_labels() -> list[Row]:
    """Of 5 users, each label 1 to 12 days after the user's one before."""
    rng = np.random.default_rng(3)
    labels = []
    for user in range(5):
        when = START
        for i in range(N_LABELS // 5):
            when += timedelta(minutes=int(rng.integers(1440, 12 * 1440)))
            item, label = f"i{rng.integers(8)}", (user + i) % 2
            labels.append(
                {"user_id": f"u{user}", "item_id": item, "event_timestamp": when, "label": label}
            )
    return labels


def make_rows(labels: list[Row], caused_after: timedelta) -> list[Row]:
    """A row of the user caused by each label's event; each third was created two weeks later."""
    rows = []
    for i, label in enumerate(labels):
        when = label["event_timestamp"] + caused_after
        created = when + 14 * DAY if i % 3 == 0 else when
        times = {"event_timestamp": when, "created": created}
        rows.append({"user_id": label["user_id"], **times, "n": 100 + i, "tags": [f"t{i}", None]})
    return rows


def make_repo(folder: Path, *, caused_after: timedelta = INSTANT, **changed: Any) -> Repo:
    folder.mkdir(parents=True, exist_ok=True)
    labels = make_labels()
    rows = make_rows(labels, caused_after)
    write_rows(folder, rows)
    sink = folder / f"item_embedding__{ENCODER}"
    sink.mkdir()
    rng = np.random.default_rng(4)
    for part in range(2):  # every second item in each of two files, so that both are read
        items = {
            "item_id": [f"i{i}" for i in range(part, 8, 2)],
            "event_timestamp": pl.Series([START] * 4, dtype=TIME),
            "item_embedding": rng.random((4, WIDTH)).astype(np.float32).tolist(),
        }
        frame = pl.DataFrame(items, schema_overrides={"item_embedding": pl.List(pl.Float32)})
        frame.write_parquet(sink / f"part-{part}.parquet")
    options = {"filter_by_created_timestamp": True} | changed
    return apply_views(folder, labels, rows, options)


def write_rows(folder: Path, rows: list[Row]) -> None:
    frame = pl.DataFrame(rows, schema_overrides={"event_timestamp": TIME, "created": TIME})
    frame.write_parquet(folder / "user_stats.parquet")


def apply_views(folder: Path, labels: list[Row], rows: list[Row], options: dict[str, Any]) -> Repo:
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    item = Entity(name="item", join_keys=["item_id"], value_type=ValueType.STRING)
    user_stats = FeatureView(
        name="user_stats",
        entities=[user],
        ttl=TTL,
        schema=[Field(name="n", dtype=Int64), Field(name="tags", dtype=Array(String))],
        source=FileSource(
            name="user_stats",
            path=str(folder / "user_stats.parquet"),
            timestamp_field="event_timestamp",
            created_timestamp_column="created",
        ),
    )
    vector = Field(
        name="item_embedding", dtype=Array(Float32), vector_index=True, vector_length=WIDTH
    )
    item_embedding = FeatureView(
        name=f"item_embedding__{ENCODER}",
        entities=[item],
        ttl=timedelta(0),
        schema=[vector],
        source=FileSource(
            name="vectors",
            path=f"item_embedding__{ENCODER}",  # from the repository, as Feast documents it
            file_format=ParquetFormat(),
            timestamp_field="event_timestamp",
        ),
    )
    service = FeatureService(
        name="ranker", features=[user_stats, item_embedding], tags={"encoder_id": ENCODER}
    )
    store = make_store(folder, [user, item, user_stats, item_embedding, service], **options)
    return Repo(store, store.get_feature_service("ranker"), labels, rows)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    return make_repo(tmp_path_factory.mktemp("leakage"))


@pytest.fixture(scope="module")
def honest(repo: Repo) -> TrainingSet:
    return repo.build()


def with_column(training_set: TrainingSet, name: str, values: list[Any]) -> TrainingSet:
    table = training_set.table
    column = pa.array(values)
    if name in table.column_names:
        table = table.set_column(table.column_names.index(name), name, column)
    else:
        table = table.append_column(name, column)
    return replace(training_set, table=table)


def test_an_honest_training_set_is_clean(repo: Repo, honest: TrainingSet) -> None:
    report = audit_training_set(honest, repo.store, repo.service, n_rows=0)
    assert report.lines() == ["Leakage audit: 0 findings in 95 of 95 rows x 3 features."]
    column = honest.table["user_stats__n"]
    assert 20 < column.null_count < 75  # both rows with and without a value were looked at


def test_a_sample_says_how_many_rows_of_how_many(repo: Repo, honest: TrainingSet) -> None:
    report = audit_training_set(honest, repo.store, repo.service, n_rows=40)
    assert report.lines() == ["Leakage audit: 0 findings in 40 of 95 rows x 3 features."]


def is_future(row: Row, t: datetime) -> bool:
    return bool(row["event_timestamp"] > t + INSTANT)


def is_own_instant(row: Row, t: datetime) -> bool:
    return bool(row["event_timestamp"] == t + INSTANT)


def is_expired(row: Row, t: datetime) -> bool:
    return bool(row["event_timestamp"] < t - TTL and row["created"] <= t)


def is_created_late(row: Row, t: datetime) -> bool:
    return bool(t - TTL <= row["event_timestamp"] <= t < row["created"])


LEAKS = {
    "future": is_future,
    "own instant": is_own_instant,
    "expired": is_expired,
    "created late": is_created_late,
}


@pytest.mark.parametrize("kind", LEAKS)
def test_a_value_of_a_row_the_label_must_not_see_is_found(
    kind: str, repo: Repo, honest: TrainingSet
) -> None:
    """Every feature that has such a row takes its value; exactly those rows are reported."""
    leaked = honest.table["user_stats__n"].to_pylist()
    planted = 0
    for i, label in enumerate(repo.labels):
        t, own = label["event_timestamp"], label["user_id"]
        rows = [r for r in repo.rows if r["user_id"] == own and LEAKS[kind](r, t)]
        if rows:
            leaked[i] = rows[-1]["n"]
            planted += 1
    assert planted > 10
    found = repo.findings(with_column(honest, "user_stats__n", leaked), suspicious_auc=1.0)
    assert found == {(kind, "user_stats__n"): planted}


def test_a_leaked_list_is_found(repo: Repo, honest: TrainingSet) -> None:
    """The lists of the label's own event, as a join that is an instant late would give them."""
    lists = pa.array([row["tags"] for row in repo.rows])
    own = Indexed(lists, np.arange(N_LABELS, dtype=np.int32))
    found = repo.findings(replace(honest, lists={"user_stats__tags": own}))
    assert found == {("own instant", "user_stats__tags"): N_LABELS}


def test_a_value_from_nowhere_and_a_value_lost_are_mismatches(
    repo: Repo, honest: TrainingSet
) -> None:
    values = honest.table["user_stats__n"].to_pylist()
    present = next(i for i, value in enumerate(values) if value is not None)
    absent = values.index(None)
    values[present], values[absent] = None, 7
    found = repo.findings(with_column(honest, "user_stats__n", values))
    assert found == {("mismatch", "user_stats__n"): 2}


def test_a_source_stamped_at_the_events_own_instant_is_found(tmp_path: Path) -> None:
    """The join is honest, the stamps are not: a label sees the row that its own event caused."""
    repo = make_repo(tmp_path, caused_after=timedelta(0))
    values = repo.build().table["user_stats__n"].to_pylist()
    own = [i for i, value in enumerate(values) if value == 100 + i]
    changed = sum(has_known_row_before(repo, i) for i in own)  # a first row changes nothing
    assert repo.findings(repo.build()) == {
        ("own instant", "user_stats__n"): changed,
        ("own instant", "user_stats__tags"): changed,
    }
    assert 20 < changed < len(own)


def has_known_row_before(repo: Repo, i: int) -> bool:
    user, t = repo.labels[i]["user_id"], repo.labels[i]["event_timestamp"]
    mine = [row for row in repo.rows if row["user_id"] == user]
    return any(row["event_timestamp"] < t and row["created"] <= t for row in mine)


def test_strictly_before_is_audited_as_configured(tmp_path: Path) -> None:
    repo = make_repo(tmp_path, caused_after=timedelta(0), strictly_before=True)
    assert repo.findings(repo.build()) == {}


def test_a_store_without_the_created_rule_is_found(tmp_path: Path) -> None:
    repo = make_repo(tmp_path, filter_by_created_timestamp=False)
    kinds = {kind for kind, _ in repo.findings(repo.build())}
    assert kinds == {"created late"}


def test_vectors_of_another_encoder_are_found(repo: Repo, honest: TrainingSet) -> None:
    vectors = honest.vectors["item_embedding"]
    other = np.random.default_rng(9).random(vectors.values.shape).astype(np.float32)
    leaky = replace(honest, vectors={"item_embedding": Indexed(other, vectors.index)})
    assert repo.findings(leaky) == {("encoder", "item_embedding"): N_LABELS}
    wider = Indexed(np.ones((len(other), WIDTH + 2), np.float32), vectors.index)
    leaky = replace(honest, vectors={"item_embedding": wider})
    assert repo.findings(leaky) == {("encoder", "item_embedding"): N_LABELS}


def test_a_vector_of_another_item_is_a_mismatch(repo: Repo, honest: TrainingSet) -> None:
    vectors = honest.vectors["item_embedding"]
    moved = (vectors.index + 1) % np.int32(len(vectors.values))
    leaky = replace(honest, vectors={"item_embedding": Indexed(vectors.values, moved)})
    assert repo.findings(leaky) == {("mismatch", "item_embedding"): N_LABELS}


def test_a_view_of_another_encoder_than_the_services_is_found(
    repo: Repo, honest: TrainingSet
) -> None:
    service = repo.store.get_feature_service("ranker")
    service.tags = {"encoder_id": OTHER}
    found = replace(repo, service=service).findings(honest)
    assert found == {("encoder", "item_embedding"): N_LABELS}


@pytest.mark.parametrize("sign", [1, -1])
def test_a_column_that_tells_the_label_is_suspicious(
    repo: Repo, honest: TrainingSet, sign: int
) -> None:
    twice = honest.take(np.tile(np.arange(N_LABELS), 2))
    labels = twice.table["label"].to_numpy()
    noise = np.random.default_rng(1).random(len(labels))
    split = Split(np.arange(len(labels)), np.arange(0), np.arange(0))
    telling = with_column(twice, "rating", (sign * (labels + noise)).tolist())
    assert repo.findings(telling, split=split) == {("suspicious", "rating"): 2 * N_LABELS}
    report = audit_training_set(telling, repo.store, repo.service, n_rows=1, split=split)
    assert "rating is no feature of the service" in report.lines()[-1]
    vague = with_column(twice, "rating", (sign * (labels + 1.8 * noise)).tolist())
    assert repo.findings(vague, split=split) == {}
    assert repo.findings(vague, split=split, suspicious_auc=0.8) != {}
    few = telling.take(np.arange(99))
    assert repo.findings(few, split=replace(split, train=np.arange(99))) == {}


def test_an_example_on_both_sides_of_the_split_is_found(repo: Repo, honest: TrainingSet) -> None:
    """Every example twice: the cut before the 19 test rows goes through a pair."""
    twice = honest.take(np.tile(np.arange(N_LABELS), 2))
    assert repo.findings(twice) == {("split overlap", "validation and test"): 1}


def test_a_split_that_trains_on_later_rows_is_found(repo: Repo, honest: TrainingSet) -> None:
    order = np.argsort([label["event_timestamp"] for label in repo.labels])
    backwards = Split(train=order[20:], validation=order[10:20], test=order[:10])
    findings = repo.findings(honest, split=backwards)
    assert findings == {
        ("split overlap", "train and validation"): 75,
        ("split overlap", "train and test"): 75,
        ("split overlap", "validation and test"): 10,
    }


STEPS = st.integers(0, 5)  # few, so that rows tie and edges are met
SOURCE_ROW = st.tuples(st.sampled_from(["u0", "u1"]), STEPS, st.none() | STEPS)
LABEL_ROW = st.tuples(st.sampled_from(["u0", "u1", None]), STEPS)


@settings(max_examples=100)
@given(st.lists(SOURCE_ROW, min_size=1, max_size=12), st.lists(LABEL_ROW, min_size=1, max_size=8))
def test_the_slow_path_agrees_with_the_store(
    tmp_path_factory: pytest.TempPathFactory,
    repo: Repo,
    sources: list[tuple[str, int, int | None]],
    labels: list[tuple[str | None, int]],
) -> None:
    """Ties, late corrections and ttl edges: what the store gives is never a wrong value."""
    unit = TTL / 3
    rows = [
        {
            "user_id": user,
            "event_timestamp": START + ts * unit,
            "created": None if created is None else START + created * unit,
            "n": i,
            "tags": [str(i)],
        }
        for i, (user, ts, created) in enumerate(sources)
    ]
    folder = Path(repo.store.config.repo_path)
    write_rows(folder, rows)
    try:
        spine = [
            {"user_id": user, "item_id": "i1", "event_timestamp": START + t * unit, "label": 0}
            for user, t in labels
        ]
        frame = pl.DataFrame(
            spine, schema_overrides={"event_timestamp": TIME, "user_id": pl.String}
        )
        built = build_training_set(repo.store, "ranker", frame.to_arrow())
        kinds = {kind for kind, _ in repo.findings(built)}
    finally:
        write_rows(folder, repo.rows)
    assert kinds <= {"own instant", "split overlap"}  # random tables do hold those


def test_a_service_it_was_not_built_for_is_an_error(repo: Repo, honest: TrainingSet) -> None:
    without = replace(honest, vectors={})
    with pytest.raises(ValueError, match="expected also 'item_embedding'"):
        repo.findings(without)


def test_the_report_for_people_and_programs(repo: Repo, honest: TrainingSet) -> None:
    values: list[int | None] = [7] * N_LABELS
    leaky = with_column(honest, "user_stats__n", values)
    report = audit_training_set(leaky, repo.store, repo.service, n_rows=0)
    title, header, line = report.lines()
    assert title == "Leakage audit: 1 finding in 95 of 95 rows x 3 features."
    assert header.split() == ["kind", "feature", "rows", "example"]
    assert line.startswith("mismatch       user_stats__n       95  row 0 (u0, i")
    again = json.loads(json.dumps(report.to_dict()))
    assert again["is_clean"] is False and again["n_rows_checked"] == 95
    assert [Finding(**each) for each in again["findings"]] == list(report.findings)


@pytest.mark.parametrize("name", ["films", "shop"])
def test_the_command_is_clean_on_what_was_built(name: str, request: pytest.FixtureRequest) -> None:
    project: Project = request.getfixturevalue(name)
    said = project.here("audit", "leakage", "--rows", "300").stdout
    assert said.startswith("Leakage audit: 0 findings in 300 of "), said


def test_the_command_fails_on_a_leak(films: Project, tmp_path: Path) -> None:
    """Statistics that count the label's own event."""
    training_set = TrainingSet.open(films.workspace.training_set)
    counts = pc.add(training_set.table["user_stats__user_n_events"], 1).to_pylist()
    folder = with_column(training_set, "user_stats__user_n_events", counts).save(tmp_path / "leaky")
    done = films.here("audit", "leakage", str(folder), "--rows", "300", "--json", fails=True)
    found = json.loads(done.stdout)
    assert not found["is_clean"]
    kinds = {f["kind"] for f in found["findings"] if f["feature"] == "user_stats__user_n_events"}
    assert "own instant" in kinds


VERSIONED = {
    ITEM_NEIGHBOURS: {"item_neighbours__popular", "item_neighbours__together_weights"},
    ITEM_FACTORS: {"item_factors__value_factors", "item_factors__positive_mean"},
}


@pytest.mark.parametrize("view", VERSIONED)
def test_a_version_of_the_item_models_from_the_future_is_found(films: Project, view: str) -> None:
    """Rows read a month too late, as if they had been read in time."""
    store = open_store(films.workspace)
    versions = store.get_feature_view(view)
    service = FeatureService(name="versions", features=[versions])
    features = [f"{view}:{field.name}" for field in versions.features]
    whole = TrainingSet.open(films.workspace.training_set).table
    spine = whole.select(SPINE_COLUMNS).slice(1200, 60)
    at = spine.schema.get_field_index("event_timestamp")
    later = pc.add(spine["event_timestamp"], timedelta(days=30))

    def read(spine: pa.Table) -> TrainingSet:
        job = store.get_historical_features(spine, features, full_feature_names=True)
        found: TrainingSet = job.to_training_set()
        return found

    late = read(spine.set_column(at, "event_timestamp", later))
    table = late.table.set_column(
        late.table.schema.get_field_index("event_timestamp"),
        "event_timestamp",
        spine["event_timestamp"],
    )
    pretended = TrainingSet(table, late.vectors, late.lists)
    assert audit_training_set(read(spine), store, service).is_clean
    found = audit_training_set(pretended, store, service).findings
    assert VERSIONED[view] <= {each.feature for each in found if each.kind == "future"}
