"""A home in which a person is in every place."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from cli.embedded_redis import embedded_redis
from cli.feast_repository import open_store
from cli.forgetting_place import forgetting_place
from cli.redis_process import RunningRedis
from cli.redis_url import connection_string
from feast_fusion.redis_matrix import online_store_of
from forgetting.audit.personal_audit import AuditReport, audit_person
from forgetting.evidence import Evidence
from forgetting.places.list_of_places import kept_tables
from intake.event import EVENT_FORMAT, Event
from intake.journal import Journal
from intake.posted.posted_row import ROW_FORMAT, PostedRow
from serving.live.event_intake import EventIntake
from serving.live.live_features import LiveFeatures
from serving.served_log import ServedLog
from tests.conftest import Project
from tests.datasets import START
from tests.serving.http.service_process import copy_project
from tests.waiting import PATIENCE_S, wait_until
from transformations.declared_encoders import identify
from transformations.embedder import Embedder

PERSON = "visitor-8c41f2"
OTHER = "visitor-8c41f3"
_MICROS = 10**6


@dataclass(frozen=True)
class Home:
    project: Project
    redis: RunningRedis
    shared: Path

    def audit(self, evidence: Evidence, user_id: str = PERSON) -> AuditReport:
        return audit_home(self.project, evidence, user_id)

    def rows(self, user_id: str) -> dict[str, int]:
        """What the places have of a user."""
        with forgetting_place(self.project.workspace) as place:
            return {name: len(table) for name, table in kept_tables(place, user_id)}


def audit_home(project: Project, evidence: Evidence, user_id: str) -> AuditReport:
    """What is left in a home of a user of whom this was known."""
    keys = [*evidence.writings, *(key for keys in evidence.vectors.values() for key in keys)]
    with forgetting_place(project.workspace) as place:
        digests = list(map(bytes.fromhex, keys))
        return audit_person(place, user_id, evidence.texts, digests)


def event_of(user_id: str, number: int, days: float = 50.0) -> Event:
    time = START + timedelta(days=days, minutes=number)
    micros = int(time.timestamp() * _MICROS)
    name = f"{user_id[-1]}-{number}"
    return Event(
        name,
        user_id,
        f"f{(number + 40 * (user_id == OTHER)) % 80}",
        micros,
        4.0 - number % 2,
        None,
        micros,
    )


def row_of(user_id: str) -> PostedRow:
    time, values = event_of(user_id, 0).time, json.dumps({"age": 33, "gender": "F"})
    return PostedRow(f"row-{user_id[-1]}", "users", user_id, "put", time, time, values)


def append(project: Project, events: Sequence[Event]) -> None:
    with Journal(project.workspace.events, EVENT_FORMAT) as journal:
        journal.append(events)


def post_live(project: Project, redis: RunningRedis, events: Sequence[Event]) -> None:
    """As a service takes them, until they are in Redis."""
    workspace = project.workspace
    store = open_store(workspace, connection_string(redis.url))
    embedder = Embedder(workspace, identify(workspace.dataset).encoder_id)
    features = LiveFeatures.open(workspace, store, [embedder])
    with EventIntake(Journal(workspace.events, EVENT_FORMAT), features) as intake:
        wait_until(lambda: not features.is_behind)
        taken = intake.submit(
            [
                {
                    "event_id": each.event_id,
                    "user_id": each.user_id,
                    "item_id": each.item_id,
                    "event_timestamp": datetime.fromtimestamp(each.time / _MICROS, UTC),
                    "value": each.value,
                }
                for each in events
            ],
            apply_timeout_s=PATIENCE_S,
        )
        assert taken.applied
        assert {outcome.status for outcome in taken.outcomes} == {"accepted"}
    online_store_of(store).disconnect()


@contextmanager
def home_of_person(films: Project, folder: Path) -> Iterator[Home]:
    """The person, and somebody alike, in the journal, its archive, the tables and what follows."""
    project = copy_project(films, folder / "home", folder / "data")
    workspace, shared = project.workspace, folder / "shared"
    shared.mkdir()
    _add_to_table(workspace.dataset.folder / "ratings.parquet")
    with Journal(workspace.posted, ROW_FORMAT) as journal:
        journal.append([row_of(user) for user in (PERSON, OTHER)])
    append(project, [event_of(user, n) for user in (PERSON, OTHER) for n in range(20)])
    with pytest.MonkeyPatch.context() as patch, embedded_redis(workspace.redis) as redis:
        patch.setenv("FUSION_VECTORS", str(shared))
        project.here("refresh", "incremental")
        project.here("training-set")
        post_live(project, redis, [event_of(u, n) for u in (PERSON, OTHER) for n in range(20, 30)])
        project.here("prepare")  # so that forgetting folds in nothing new
        _leave_traces(project)
        yield Home(project, redis, shared)


def _add_to_table(path: Path) -> None:
    events = [event_of(user, n, 41)._asdict() for user in (PERSON, OTHER) for n in range(100, 110)]
    ratings = pl.read_parquet(path)
    own = pl.DataFrame(events).with_columns(
        event_timestamp=pl.from_epoch("time", "us").dt.replace_time_zone("UTC")
    )
    own = own.select(ratings.columns).cast(dict(ratings.schema))
    pl.concat([ratings, own]).write_parquet(path)


def _leave_traces(project: Project) -> None:
    """Where a service and an ingest leave something."""
    workspace = project.workspace
    with ServedLog(workspace.served, 1.0) as log:
        for user in (PERSON, OTHER, PERSON):
            log.offer(user, lambda user=user: pa.table({"user_id": [user], "item_id": ["f1"]}))
    line = f'{{"crc":"00000000","group":0,"event":{{"event_id":"e","user_id":"{PERSON}","ite'
    (workspace.events / "1-10.cut").write_text(line)
    workspace.ingested.mkdir()
    rows = [{"place": "a.csv, line 2", "row": {"user_id": user}} for user in (PERSON, OTHER)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (workspace.ingested / "rejects.jsonl").write_text(lines)
    workspace.checkpoints.mkdir(exist_ok=True)
    (workspace.checkpoints / "ranker.json").write_text("{}")
