"""Several processes at one port: they share what users do, come back, and end together."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from intake.journal_content import read_journal
from serving.answers import QUERY_NOT_ENCODED
from tests.conftest import Project
from tests.serving.http.service_process import ServiceProcess, copy_project, service_process
from tests.trained import add_other_version, served_folder
from tests.waiting import wait_until

USERS = [f"u{n}" for n in range(20)]


def below(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    found = []
    with suppress(FileNotFoundError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                found += [int(child), *below(int(child))]
    return found


def forked_by(served: ServiceProcess) -> set[int]:
    """Those that were forked from the process that loaded the code, which itself has children."""
    everyone = below(served.process.pid)
    return {pid for pid in everyone if b"forkserver" in command(pid) and not below(pid)}


def workers_of(served: ServiceProcess) -> set[int]:
    """Those that answer."""
    return forked_by(served) - encoders_of(served)


def encoders_of(served: ServiceProcess) -> set[int]:
    """Those that listen where texts are encoded."""
    listening = {line.split()[6] for line in unix_sockets() if line.endswith("/encoders")}
    return {
        pid for pid in forked_by(served) if any(inode in listening for inode in sockets_of(pid))
    }


def unix_sockets() -> list[str]:
    return Path("/proc/net/unix").read_text().splitlines()


def sockets_of(pid: int) -> list[str]:
    """The inodes of the sockets that a process has open."""
    found = []
    with suppress(FileNotFoundError):
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                found.append(file.readlink().name.removeprefix("socket:[").removesuffix("]"))
    return found


def command(pid: int) -> bytes:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def is_running(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


@pytest.fixture(scope="module")
def project(films: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return copy_project(films, tmp_path_factory.mktemp("workers") / "home")


@pytest.fixture(scope="module")
def served(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    log = tmp_path_factory.mktemp("log") / "log"
    with service_process(project, log, "--workers", "2") as found:
        yield found


def answered_by(served: ServiceProcess) -> dict[str, float]:
    """Answers by the number of the process."""
    name = "fusion_answers_total{"
    lines = served.service.get("/metrics").body.decode().splitlines()
    found: dict[str, float] = {}
    for line in lines:
        if line.startswith(name):
            number = line.split('process="')[1][0]
            found[number] = found.get(number, 0) + float(line.rsplit(" ", 1)[1])
    return found


def ask(served: ServiceProcess, user_id: str = "u1") -> Any:
    answer = served.service.post("/recommend", {"user_id": user_id, "n": 5})
    assert answer.status == 200, answer.body
    return answer.json()


def ask_in_words(served: ServiceProcess, query: str) -> tuple[str, ...]:
    """What was missing for the answer."""
    answer = served.service.post("/recommend", {"user_id": "u1", "query": query})
    assert answer.status == 200, answer.body
    return tuple(answer.json()["reasons"])


def encoded(served: ServiceProcess) -> dict[str, float]:
    """Texts that went through an encoder, by process."""
    lines = served.service.get("/metrics").body.decode().splitlines()
    name = 'fusion_encode_texts_sum{process="'
    return {
        line.removeprefix(name).split('"')[0]: float(line.rsplit(" ", 1)[1])
        for line in lines
        if line.startswith(name)
    }


def both_answer(served: ServiceProcess) -> None:
    before = answered_by(served)

    def have_answered() -> bool:
        ask(served)
        now = answered_by(served)
        return all(now.get(number, 0) > before.get(number, 0) for number in "01")

    wait_until(have_answered, "both processes answer")


def event(number: int) -> dict[str, Any]:
    return {
        "event_id": f"e{number}",
        "user_id": f"new {number % 5}",
        "item_id": f"f{number % 50}",
        "value": 5.0,
        "event_timestamp": datetime.now(UTC).isoformat(),
    }


class Posting:
    """Posts events one by one; a connection that breaks is no answer, and is tried again."""

    def __init__(self, served: ServiceProcess) -> None:
        self.acknowledged: list[str] = []
        self._served, self._is_over = served, threading.Event()
        self._thread = threading.Thread(target=self._run)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._is_over.is_set():
            with suppress(OSError):
                body = {"events": [event(number)], "wait_ms": 0}
                answer = self._served.service.post("/events", body)
                if answer.status == 200:
                    self.acknowledged.append(f"e{number}")
                number += 1


def test_both_answer_and_what_one_was_told_counts_for_both(served: ServiceProcess) -> None:
    assert len(workers_of(served)) == 2
    both_answer(served)
    told = event(0) | {"user_id": "told", "item_id": "f3", "event_id": "told"}
    assert served.service.post("/events", {"events": [told]}).status == 200
    wait_until(lambda: served.service.metric("fusion_events_pending") == 0, "it is applied")
    before = answered_by(served)

    def all_know() -> bool:
        answer = ask(served, "told")
        assert "f3" not in {item["item_id"] for item in answer["items"]}
        assert answer["user"] == "known"
        now = answered_by(served)
        return all(now[number] > before[number] + 2 for number in "01")

    wait_until(all_know, "each process is asked")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_one_that_ends_comes_back_and_no_acknowledged_event_is_lost(
    project: Project, served: ServiceProcess, number: signal.Signals
) -> None:
    ended, other = workers_of(served)
    posting = Posting(served)
    with posting.going_on():
        wait_until(lambda: len(posting.acknowledged) > 20, "events")
        os.kill(ended, number)
        wait_until(lambda: ended not in workers_of(served), "it ends")
        wait_until(lambda: len(workers_of(served)) == 2, "another one")
        n = len(posting.acknowledged)
        wait_until(lambda: len(posting.acknowledged) > n + 20, "events afterwards")
    assert other in workers_of(served), "the other one has gone on"
    kept = read_journal(project.workspace.events)["event_id"].to_pylist()
    assert set(posting.acknowledged) <= set(kept) and len(kept) == len(set(kept))
    assert any("is started again" in line["message"] for line in served.lines())
    both_answer(served)


def test_one_process_encodes_for_both(served: ServiceProcess) -> None:
    before, queries = encoded(served), [f"a film of {number} dogs" for number in range(12)]
    assert {ask_in_words(served, query) for query in queries} == {()}
    after = encoded(served)  # a query has a text or two, and categories have names
    assert {*after} == {"encoder"}
    assert after["encoder"] >= before["encoder"] + len(queries)


def test_an_item_that_is_posted_to_one_is_in_the_answers_of_both(served: ServiceProcess) -> None:
    new = {"item_id": "new", "title": "Posted to one", "genres": ["Posted"]}
    assert served.service.post("/items", {"items": [new]}).status == 200
    asked = {"user_id": "u1", "filter": "'Posted' in genres"}

    def both_have_it() -> bool:
        before = now = answered_by(served)
        while not all(now[number] > before[number] + 2 for number in "01"):
            answer = served.service.post("/recommend", asked)
            if [item["item_id"] for item in answer.json()["items"]] != ["new"]:
                return False
            now = answered_by(served)
        return True

    wait_until(both_have_it, "both recommend it")


def test_without_it_queries_are_left_out_until_it_is_back(served: ServiceProcess) -> None:
    (encoder,) = encoders_of(served)
    answering = workers_of(served)
    os.kill(encoder, signal.SIGSTOP)  # hangs
    assert ask_in_words(served, "a film while it hangs") == (QUERY_NOT_ENCODED,)
    os.kill(encoder, signal.SIGKILL)
    wait_until(lambda: not is_running(encoder), "it ends")
    assert ask_in_words(served, "a film without it") == (QUERY_NOT_ENCODED,)
    refused = served.service.post("/v1/embeddings", {"input": "a text without it"})
    assert refused.status == 503
    assert "expected an answer of the process that encodes" in refused.detail
    wait_until(lambda: encoders_of(served), "another one")
    wait_until(lambda: ask_in_words(served, "a film with it") == (), "queries are encoded")
    assert served.service.post("/v1/embeddings", {"input": "a text with it"}).status == 200
    assert workers_of(served) == answering, "the others have gone on"


def test_both_take_up_a_promotion(project: Project, served: ServiceProcess) -> None:
    version = add_other_version(project.workspace)
    project.here("models", "promote", version)

    def shares() -> list[str]:
        lines = served.service.get("/metrics").body.decode().splitlines()
        return [line for line in lines if line.startswith("fusion_model_share{")]

    wait_until(
        lambda: len(shares()) == 2 and all(version in line for line in shares()), "both have it"
    )
    assert {ask(served)["model"] for _ in range(20)} == {version}
    project.here("models", "rollback")


def test_all_end_with_the_one_that_was_started(served: ServiceProcess) -> None:
    everyone = below(served.process.pid)
    assert len(everyone) >= 4
    assert served.stop() == 0
    wait_until(lambda: not any(map(is_running, everyone)), "all have ended")
    assert served.lines(), "nothing but JSON was written, also at the end"


def test_all_end_when_the_one_that_was_started_is_killed(films: Project, tmp_path: Path) -> None:
    project = copy_project(films, tmp_path / "home")
    with service_process(project, tmp_path / "log", "--workers", "2") as served:
        everyone = below(served.process.pid)
        redis = {pid for pid in everyone if b"redis-server" in command(pid)}
        served.process.kill()
        others = {*everyone} - redis
        wait_until(lambda: not any(map(is_running, others)), "all but Redis have ended")
    project.here("redis", "stop")  # it outlives a kill, and the next command finds it


def test_what_keeps_them_from_starting_is_said_in_one_line(films: Project, tmp_path: Path) -> None:
    project = copy_project(films, tmp_path / "home")
    path = served_folder(project.workspace) / "arrays.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    said = project.run("serve", "--port", "0", "--workers", "2", fails=True)
    errors = [line for line in said.stderr.splitlines() if line.startswith("Error: ")]
    assert "Traceback" not in said.stderr
    assert str(path.parent) in errors[0] and "could not start" in errors[-1]
