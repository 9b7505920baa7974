"""A person who is forgotten is nowhere; everybody else is as before; the audit is no formality."""

import gzip
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from redis import Redis

from feast_fusion.parquet.seal import write_parquet
from feast_fusion.parquet.whole import read_parquet
from feast_fusion.record_cache.record_file import RecordFile
from feast_fusion.sealed_json import read_json
from feast_fusion.shared_vectors.vector_parts import VectorParts
from feast_fusion.training_set import TrainingSet
from forgetting.evidence import Evidence, gather_evidence
from intake.event import EVENT_FORMAT
from intake.journal_content import read_events
from intake.journal_file import format_line
from tests.conftest import Project
from tests.forgetting.known_person import OTHER, PERSON, Home, event_of, home_of_person
from training.model_versions import ModelVersions


@dataclass(frozen=True)
class Forgotten:
    home: Home
    evidence: Evidence
    before: dict[str, int]
    others: dict[str, pl.DataFrame]
    other_before: dict[str, int]
    exported: Path
    printed: str


def others_of(home: Home) -> dict[str, pl.DataFrame]:
    """The rows of everybody else in the prepared sources and the sinks."""
    root = home.project.workspace.root
    files = [*root.glob("sources/*.parquet"), *root.glob("sinks/*/*.parquet")]
    frames: dict[str, list[pl.DataFrame]] = {}
    for path in sorted(files):
        frame = pl.read_parquet(path)
        if "user_id" in frame.columns:
            name = path.stem if path.parent.name == "sources" else path.parent.name
            frames.setdefault(name, []).append(frame.filter(pl.col("user_id") != PERSON))
    return {name: pl.concat(some) for name, some in frames.items()}


@pytest.fixture(scope="module")
def forgotten(films: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forgotten]:
    folder = tmp_path_factory.mktemp("forgotten")
    with home_of_person(films, folder) as home:
        evidence = gather_evidence(home.project.workspace, PERSON)
        before, others = home.rows(PERSON), others_of(home)
        other_before = home.rows(OTHER)
        home.project.here("export", PERSON, "--out", str(folder / "out"))
        with home.project.workspace.report.open("a") as page:
            page.write(f"User {PERSON}, who lately had: Film number 1")
        printed = home.project.here("forget", PERSON).stdout
        yield Forgotten(home, evidence, before, others, other_before, folder / "out", printed)


def test_the_person_was_in_every_place(forgotten: Forgotten) -> None:
    """Else the other tests would show nothing."""
    places = {name.partition("/")[0] for name in forgotten.before}
    expected = {"journal", "ingested", "sources", "history", "training_sets", "texts", "served"}
    assert places == expected | {"online"}
    assert forgotten.before["journal/events"] == 30
    assert forgotten.before["sources/interactions"] == 40
    assert forgotten.before["served/answers"] == 2
    assert forgotten.before["online/live_events"] == 10
    assert forgotten.evidence.texts and all(forgotten.evidence.vectors.values())


def test_nothing_is_left_and_everybody_else_is_as_before(forgotten: Forgotten) -> None:
    home = forgotten.home
    report = home.audit(forgotten.evidence)
    assert report.leftovers == ()
    assert report.n_files > 50 and report.n_keys > 100
    assert home.rows(PERSON) == {}
    assert home.rows(OTHER) == forgotten.other_before
    now = others_of(home)
    assert now.keys() == forgotten.others.keys()
    for name, frame in forgotten.others.items():
        assert now[name].equals(frame), name
    left = read_events(home.project.workspace.events)
    assert {event.user_id for event in left} == {OTHER} and len(left) == 30
    found = TrainingSet.open(home.project.workspace.training_set)
    assert PERSON not in found.table["user_id"].to_pylist()
    assert OTHER in found.table["user_id"].to_pylist()
    for column in [*found.vectors.values(), *found.lists.values()]:
        assert np.array_equal(np.unique(column.index[column.index >= 0]), range(len(column.values)))


def test_the_receipt_says_what_was_done_and_not_of_whom(forgotten: Forgotten) -> None:
    workspace = forgotten.home.project.workspace
    (path,) = (workspace.forgotten / "receipts").glob("*.json")
    assert str(path) in forgotten.printed and PERSON not in forgotten.printed
    receipt = read_json(path)
    assert PERSON not in path.read_text()
    erased = receipt["erased_of_this_run"]
    assert erased["journal"] == 32 and erased["served"] == 2 and erased["ingested"] == 1
    assert min(erased.values()) > 0
    assert receipt["rows_kept"] == sum(forgotten.before.values())
    assert receipt["audit"]["found"] == 0
    told = f"Forgotten: {sum(erased.values()):,} rows in {len(erased)} places. The audit searched"
    assert told in forgotten.printed and "found nothing left" in forgotten.printed
    # versions know when they were trained: after the person's first event, so perhaps on it
    assert receipt["trained_on"]["models"] == [each.name for each in ModelVersions(workspace).all()]
    assert not list((workspace.forgotten / "pending").iterdir())


def test_again_finds_nothing_and_says_so(forgotten: Forgotten) -> None:
    forgotten.home.project.here("forget", PERSON)
    workspace = forgotten.home.project.workspace
    (path,) = (workspace.forgotten / "receipts").glob("*.json")
    erased = read_json(path)["erased_of_this_run"]
    assert not any(erased.values()), erased
    assert "Nothing was interrupted" in forgotten.home.project.here("forget", "--resume").stdout
    assert "got no user" in forgotten.home.project.here("forget", fails=True).stderr


def test_the_export_had_what_was_posted(forgotten: Forgotten) -> None:
    manifest = read_json(forgotten.exported / "manifest.json")
    assert manifest["rows"] == {f"{name}.jsonl": n for name, n in forgotten.before.items()}
    assert len(manifest["rows"]) >= 15
    events = (forgotten.exported / "journal" / "events.jsonl").read_text().splitlines()
    posted = {event_of(PERSON, number).event_id for number in range(30)}
    assert {json.loads(line)["event_id"] for line in events} == posted
    for file in manifest["rows"]:
        text = (forgotten.exported / file).read_text()
        assert OTHER not in text
        assert len(text.splitlines()) == manifest["rows"][file]
    assert forgotten.exported.stat().st_mode & 0o077 == 0
    assert not list(forgotten.exported.parent.glob(".*")), "nothing beside it"


# --- the audit ----------------------------------------------------------------------------------

Plant = Callable[[Forgotten], Path | None]


def _append_row(path: Path, **columns: object) -> Path:
    """A row more in a Parquet file, which is copied from its first."""
    table = read_parquet(path)
    row = table.slice(0, 1)
    for name, value in columns.items():
        at = row.column_names.index(name)
        row = row.set_column(at, row.schema.field(at), pa.array([value], row.schema.field(at).type))
    write_parquet(path, pa.concat_tables([table, row]))
    return path


def _in_journal(found: Forgotten) -> Path:
    (path,) = list(found.home.project.workspace.events.glob("*.jsonl"))[:1]
    with path.open("ab") as file:
        file.write(format_line(path.stat().st_size, EVENT_FORMAT.encode(event_of(PERSON, 99))))
    return path


def _in_archive(found: Forgotten) -> Path:
    (path,) = found.home.project.workspace.events.glob("archive/*.parquet")
    return _append_row(path, user_id=PERSON)


def _in_source(found: Forgotten) -> Path:
    return _append_row(found.home.project.workspace.source("user_stats"), user_id=PERSON)


def _in_rejects(found: Forgotten) -> Path:
    path = found.home.project.workspace.sources / "rejects" / "planted.parquet"
    write_parquet(path, pa.table({"unread_text": ["1;2", f"5;{PERSON};f1"]}))
    return path


def _in_sink(found: Forgotten) -> Path:
    written = found.home.project.workspace.sinks.glob("user_interest__*/*.parquet")
    return _append_row(
        next(path for path in written if read_parquet(path).num_rows), user_id=PERSON
    )


def _retired(found: Forgotten) -> Path:
    folder = next(found.home.project.workspace.sinks.glob("user_interest__*")) / ".retired"
    folder.mkdir()
    write_parquet(folder / "part.parquet", pa.table({"user_id": [PERSON]}))
    return folder / "part.parquet"


def _in_training_set(found: Forgotten) -> Path:
    path = found.home.project.workspace.training_set / "table.arrow"
    with pa.OSFile(str(path), "wb") as sink:
        table = pa.table({"user_id": pa.array([OTHER, PERSON]).dictionary_encode()})
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_file(sink, table.schema, options=options) as writer:
            writer.write_table(table)
    return path


def _key_of_text(found: Forgotten) -> tuple[str, bytes]:
    ((cache_id, keys),) = found.evidence.vectors.items()
    return cache_id, bytes.fromhex(keys[0])


def _in_vectors(found: Forgotten) -> Path:
    cache_id, key = _key_of_text(found)
    path = found.home.project.workspace.vectors / f"{cache_id}.sqlite"
    RecordFile(path, 384).write({key: bytes(384 * 4)}, lambda _: None)
    return path


def _in_shared_vectors(found: Forgotten) -> Path:
    cache_id, key = _key_of_text(found)
    place = found.home.project.workspace.vectors / "planted"
    place.mkdir()
    return place / cache_id / VectorParts(str(place), cache_id).write({key: bytes(384 * 4)})


def _in_writings(found: Forgotten) -> Path:
    path = found.home.project.workspace.writings / "some-writer.sqlite"
    text = json.dumps({"text": json.dumps({"portrait": found.evidence.texts[0]})})
    RecordFile(path, None).write({b"key": text.encode()}, lambda _: None)
    return path


def _in_served(found: Forgotten) -> Path:
    (path,) = found.home.project.workspace.served.glob("*.parquet")
    return _append_row(path, user_id=PERSON)


def _in_ingested(found: Forgotten) -> Path:
    path = found.home.project.workspace.ingested / "rejects.jsonl"
    path.write_text(path.read_text() + json.dumps({"row": {"user_id": PERSON}}) + "\n")
    return path


def _in_free_page(found: Forgotten) -> Path:
    path = found.home.project.workspace.root / "planted.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("CREATE TABLE kept (user TEXT)")
        connection.executemany("INSERT INTO kept VALUES (?)", [(PERSON,)] * 500)
        connection.commit()
        connection.execute("DELETE FROM kept")
        connection.commit()
    return path


def _packed(found: Forgotten) -> Path:
    path = found.home.project.workspace.root / "planted.gz"
    path.write_bytes(gzip.compress(json.dumps({"user_id": PERSON}).encode()))
    return path


def _as_a_name(found: Forgotten) -> Path:
    path = found.home.project.workspace.root / f"profile-of-{PERSON}.txt"
    path.write_text("nothing")
    return path


def _in_snapshot(found: Forgotten) -> Path:
    """Of a server that is not asked otherwise, in which short strings are packed."""
    redis = found.home.redis
    with closing(Redis.from_url(redis.url)) as client:
        client.hset("planted", mapping={"a": PERSON, "b": "x" * 100})
        redis.save()
        client.delete("planted")
    return found.home.project.workspace.redis / "dump.rdb"


def _in_redis(key: str, add: Callable[[Redis, str], object]) -> Plant:
    def plant(found: Forgotten) -> None:
        with closing(Redis.from_url(found.home.redis.url)) as client:
            add(client, key)

    return plant


MEMBER = EVENT_FORMAT.encode(event_of(PERSON, 98)).decode()
PLANTS: dict[str, Plant] = {
    "journal": _in_journal,
    "archive": _in_archive,
    "source": _in_source,
    "rejects": _in_rejects,
    "sink": _in_sink,
    "retired file": _retired,
    "training set": _in_training_set,
    "vectors": _in_vectors,
    "shared vectors": _in_shared_vectors,
    "writings": _in_writings,
    "served": _in_served,
    "ingested": _in_ingested,
    "free page": _in_free_page,
    "packed": _packed,
    "name": _as_a_name,
    "snapshot": _in_snapshot,
    "user's row": _in_redis("planted", lambda r, key: r.hset(key, "user_id", PERSON)),
    "live events": _in_redis(f"fusion:live:films:user:{PERSON}", lambda r, key: r.set(key, 1)),
    "item's events": _in_redis("planted", lambda r, key: r.zadd(key, {MEMBER: 1})),
    "departures": _in_redis("fusion:live:films:active", lambda r, key: r.zadd(key, {PERSON: 1})),
}


@pytest.mark.parametrize("where", PLANTS)
def test_the_audit_finds_what_is_left(forgotten: Forgotten, where: str, tmp_path: Path) -> None:
    home, root = forgotten.home, forgotten.home.project.workspace.home
    shutil.copytree(root, tmp_path / "home", ignore=shutil.ignore_patterns("redis"))
    try:
        path = PLANTS[where](forgotten)
        leftovers = home.audit(forgotten.evidence).leftovers
        expected = "Redis" if path is None else str(path)
        assert leftovers and all(each.place.startswith(expected) for each in leftovers), leftovers
    finally:
        _restore(home, tmp_path / "home")
    assert home.audit(forgotten.evidence).leftovers == ()


def _restore(home: Home, copy: Path) -> None:
    root = home.project.workspace.home
    for path in sorted(root.rglob("*")):
        if path.is_file() and "redis" not in path.relative_to(root).parts:
            kept = copy / path.relative_to(root)
            if not kept.exists():
                path.unlink()
            elif kept.read_bytes() != path.read_bytes():
                shutil.copy2(kept, path)
    with closing(Redis.from_url(home.redis.url)) as client:
        client.delete("planted", f"fusion:live:films:user:{PERSON}")
        client.zrem("fusion:live:films:active", PERSON)
        client.set("changed", 1)
        client.delete("changed")
    home.redis.save()
