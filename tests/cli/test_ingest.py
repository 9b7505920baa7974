"""`feast-fusion ingest FOLDER`: each event of the files once, and what is none kept beside them."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from tests.conftest import Project
from tests.killed_ingest import ingest_until_killed, journaled
from tests.serving.http.service_process import copy_project

START = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def project(films: Project, tmp_path: Path) -> Project:
    return copy_project(films, tmp_path / "home", tmp_path / "data")


def lines(*rows: dict[str, object]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def event(user: str, item: str, at: int = 0, **more: object) -> dict[str, object]:
    time = (START + timedelta(minutes=at)).isoformat()
    return {"user_id": user, "item_id": item, "event_timestamp": time, "value": 5.0, **more}


def journal(project: Project) -> list[tuple[str, str, str]]:
    found = journaled(project)
    columns = (found[name].to_pylist() for name in ("user_id", "item_id", "event_id"))
    return sorted(zip(*columns, strict=True))


def rejects(project: Project) -> Iterator[tuple[str, str]]:
    for line in (project.workspace.ingested / "rejects.jsonl").read_text().splitlines():
        found = json.loads(line)
        yield found["place"], found["reason"]


def test_every_row_is_taken_in_once_whatever_becomes_of_its_file(
    project: Project, tmp_path: Path
) -> None:
    folder = tmp_path / "events"
    (folder / "old").mkdir(parents=True)
    twice = event("u1", "f2", 1)
    (folder / "a.jsonl").write_text(lines(event("u1", "f1"), twice, twice))
    (folder / "old" / "b.csv").write_text(
        "user_id,item_id,event_timestamp,value,event_id,note\n"
        f"u2,f3,{START:%FT%TZ},4,mine-1,kept apart\n"
        f"u2,f4,{START:%FT%TZ},,mine-2,\n"
    )
    (folder / "_half.jsonl").write_text('{"user_id": "u9"')
    said = project.here("ingest", str(folder)).stdout
    assert "4 events taken in, 0 that were there already, 1 rejected" in said
    assert list(rejects(project)) == [("old/b.csv, row 1", "null value")]
    taken = journal(project)
    assert [each[:2] for each in taken] == [("u1", "f1"), ("u1", "f2"), ("u1", "f2"), ("u2", "f3")]
    assert taken[3][2] == "mine-1"

    assert "0 events taken in, 0 that were there" in project.here("ingest", str(folder)).stdout
    new = event("u1", "f5", 2)
    (folder / "a.jsonl").write_text(lines(new, twice, event("u1", "f1"), twice))
    said = project.here("ingest", str(folder)).stdout
    assert "1 events taken in, 3 that were there already, 0 rejected" in said
    assert len(journal(project)) == 5

    (project.workspace.ingested).joinpath(
        next(path.name for path in project.workspace.ingested.glob("*.json"))
    ).unlink()
    said = project.here("ingest", str(folder)).stdout
    assert "0 events taken in, 5 that were there already, 1 rejected" in said


def test_what_cannot_be_read_is_named_and_the_rest_taken_in(
    project: Project, tmp_path: Path
) -> None:
    folder = tmp_path / "events"
    folder.mkdir()
    (folder / "a.jsonl").write_text(lines(event("u1", "f1")) + "{oops\n")
    (folder / "b.jsonl").write_text(lines({"who": "u1"}))
    (folder / "c.jsonl").write_text(
        lines(event("u1", "f2"), event("u1", "nothing"), event("u1", "f3", 10**6))
    )
    said = project.here("ingest", str(folder), fails=True)
    assert "1 events taken in, 0 that were there already, 2 rejected" in said.stdout
    assert "a.jsonl: got a file that cannot be read as JSON" in said.stdout
    assert "b.jsonl: missing columns" in said.stdout and "2 files" in said.stderr
    assert {reason for _, reason in rejects(project)} == {
        "unknown item_id",
        "event_timestamp in the future",
    }
    (folder / "a.jsonl").write_text(lines(event("u1", "f1")))  # the remedy
    (folder / "b.jsonl").unlink()
    assert "1 events taken in" in project.here("ingest", str(folder)).stdout


def test_a_process_that_is_killed_leaves_no_event_out_and_none_twice(
    project: Project, tmp_path: Path
) -> None:
    folder = tmp_path / "events"
    folder.mkdir()
    rows = [event(f"u{at % 50}", f"f{at % 80}", at) for at in range(6_000)]
    for part in range(6):
        (folder / f"{part}.jsonl").write_text(lines(*rows[part * 1_000 : (part + 1) * 1_000]))
    ingest_until_killed(project, str(folder))
    project.here("ingest", str(folder))
    times = journaled(project)["event_timestamp"]
    assert len(times) == len(set(times.to_pylist())) == 6_000


def test_features_follow_and_the_events_are_folded_in(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "events"
    folder.mkdir()
    frame = pl.DataFrame([event("newcomer", f"f{at}", at) for at in range(4)])
    frame.with_columns(pl.col("event_timestamp").str.to_datetime(time_zone="UTC")).write_parquet(
        folder / "part.parquet"
    )
    project.here("ingest", str(folder))
    answer = project.here("recommend", "newcomer", "-n", "80").stdout
    assert "Film number 7" in answer
    assert not [at for at in range(4) if f"Film number {at} " in answer]
    project.here("prepare")
    events = pl.read_parquet(project.workspace.source("interactions"))
    assert events.filter(user_id="newcomer")["item_id"].to_list() == ["f0", "f1", "f2", "f3"]


def test_one_source_is_named(project: Project, tmp_path: Path) -> None:
    for wrong in (
        [],
        ["--kafka", "localhost:1"],
        [str(tmp_path), "--kafka", "a:1", "--topic", "t"],
    ):
        assert "Name one source" in project.here("ingest", *wrong, fails=True).stderr


def test_a_line_of_the_settings_that_is_none_is_named(project: Project, tmp_path: Path) -> None:
    settings = tmp_path / "kafka.properties"
    settings.write_text("# ours\nsecurity.protocol=PLAINTEXT\nsasl.mechanism PLAIN\n")
    options = ["--kafka", "localhost:1", "--topic", "t", "--kafka-config", str(settings)]
    said = project.here("ingest", *options, fails=True).stderr
    assert "got the line 'sasl.mechanism PLAIN', expected name=value" in said
