"""Versions of the model are exchanged under a service that goes on answering."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from intake.workspace import Workspace
from tests.conftest import Project
from tests.serving.http.service_process import Answer, Service, copy_project, service_process
from tests.trained import add_other_version, add_reversed_version
from tests.waiting import wait_until
from training.promotions import Promotions

USERS = [f"u{n}" for n in range(40)]


@dataclass(frozen=True)
class Exchange:
    """A service on a workspace that has a second version, which nobody has promoted."""

    project: Project
    service: Service
    first: str
    second: str
    place: Path

    @property
    def workspace(self) -> Workspace:
        return self.project.workspace

    def ask(self, user_id: str) -> Answer:
        return self.service.post("/recommend", {"user_id": user_id, "n": 5})

    def answering(self) -> set[str]:
        return {self.ask(user_id).json()["model"] for user_id in USERS[:8]}

    def has_second(self) -> bool:
        share = f'fusion_model_share{{model="{self.second}"}}'
        return share in self.service.get("/metrics").body.decode()

    @contextmanager
    def promoted(self, *share: str) -> Iterator[str]:
        """The second version, as `share` says, until the block ends; what the command said."""
        said = self.project.here("models", "promote", self.second, *share)
        try:
            yield said.stdout
        finally:
            self.roll_back()

    def roll_back(self) -> None:
        self.project.here("models", "rollback")
        wait_until(lambda: self.answering() == {self.first}, "the first answers")
        wait_until(lambda: not self.has_second(), "the second has left")


@pytest.fixture(scope="module")
def exchange(films: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    folder = tmp_path_factory.mktemp("exchange")
    project = copy_project(films, folder / "home")
    first = Promotions(project.workspace).read().main
    second = add_other_version(project.workspace)
    place = folder / "shared"
    place.mkdir()
    variables = {"FUSION_MODELS": str(place)}  # where nobody promotes anything before the last test
    with service_process(project, folder / "log", "--rank-threads", "2", **variables) as served:
        yield Exchange(project, served.service, first, second, place)


@dataclass
class Asked:
    answers: list[Answer] = field(default_factory=list)
    is_over: bool = False

    def run(self, ask: Callable[[str], Answer]) -> None:
        while not self.is_over:
            for user_id in USERS:
                self.answers.append(ask(user_id))


@contextmanager
def load(exchange: Exchange) -> Iterator[Asked]:
    """Three clients that ask without a pause."""
    asked = Asked()
    clients = [threading.Thread(target=asked.run, args=(exchange.ask,)) for _ in range(3)]
    for client in clients:
        client.start()
    try:
        yield asked
    finally:
        asked.is_over = True
        for client in clients:
            client.join()


def test_a_promotion_and_its_return_fail_no_request(exchange: Exchange) -> None:
    first, second = exchange.first, exchange.second
    scores = {}
    with load(exchange) as asked:
        for command, version in ((("promote", second[:6]), second), (("rollback",), first)):
            before = len(asked.answers)
            said = exchange.project.here("models", *command)
            assert f"Model {version} answers 100%." in said.stdout
            wait_until(lambda v=version: exchange.answering() == {v}, "the version answers")
            wait_until(lambda n=before: len(asked.answers) > n + 100, "requests meanwhile")
            items = exchange.ask(USERS[0]).json()["items"]
            scores[version] = [item["liked"] for item in items]
    assert {answer.status for answer in asked.answers} == {200}
    models = [answer.json()["model"] for answer in asked.answers]
    assert {*models} == {first, second}
    assert scores[first] != scores[second], "the weights are those of the version"
    counted = exchange.service.metric(f'fusion_answers_total{{model="{second}"}}')
    assert counted >= models.count(second)


def test_two_versions_answer_side_by_side_each_its_own_users(exchange: Exchange) -> None:
    def found() -> dict[str, str]:
        return {user_id: exchange.ask(user_id).json()["model"] for user_id in USERS}

    with exchange.promoted("--share", "0.4") as said:
        assert f"Model {exchange.second} answers 40%." in said
        promoted = Promotions(exchange.workspace).read()
        expected = {user_id: promoted.version_of(user_id) for user_id in USERS}
        assert {*expected.values()} == {exchange.first, exchange.second}
        wait_until(lambda: found() == expected, "both versions answer")
        share = exchange.service.metric(f'fusion_model_share{{model="{exchange.second}"}}')
        assert share == pytest.approx(0.4)
        listed = {each["name"]: each for each in listing(exchange)}
        assert listed[exchange.second]["share"] == pytest.approx(0.4)
        refused = exchange.project.here("models", "delete", exchange.second, fails=True)
        assert "models promote" in refused.stderr


def listing(exchange: Exchange) -> list[dict[str, object]]:
    said = exchange.project.here("models", "list", "--json").stdout
    found: list[dict[str, object]] = json.loads(said)["versions"]
    return found


def test_a_shadow_is_asked_and_not_heard(exchange: Exchange) -> None:
    service, outcome = exchange.service, 'fusion_shadow_answers_total{outcome="%s"}'
    with exchange.promoted("--shadow"):
        wait_until(
            lambda: exchange.answering() and service.metric(outcome % "compared") > 0,
            "the shadow is asked",
        )
        assert exchange.answering() == {exchange.first}
        n, shares = service.metrics("fusion_shadow_overlap_count", "fusion_shadow_overlap_sum")
        assert 0 <= shares <= n
        assert service.metric(outcome % "failed") == 0


def test_a_version_that_cannot_be_loaded_leaves_those_before(exchange: Exchange) -> None:
    path = exchange.workspace.models / exchange.second / "served" / "arrays.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    try:
        refused = exchange.project.here("models", "promote", exchange.second, fails=True)
        assert str(path.parent) in refused.stderr
        Promotions(exchange.workspace).promote(exchange.second)
        wait_until(
            lambda: (
                exchange.answering() == {exchange.first}
                and exchange.service.metric("fusion_model_behind") == 1
            ),
            "the service says that it is behind",
        )
    finally:
        path.write_bytes(whole)
    wait_until(lambda: exchange.answering() == {exchange.second}, "it is tried again")
    assert exchange.service.metric("fusion_model_behind") == 0
    exchange.roll_back()


def test_a_version_of_another_host_answers_once_it_is_promoted_there(
    exchange: Exchange, tmp_path: Path
) -> None:
    there = replace(exchange.workspace, home=tmp_path / "there", shared_models=str(exchange.place))
    shutil.copytree(exchange.workspace.models, there.models)
    trained = add_reversed_version(there)
    with load(exchange) as asked:
        Promotions(there).promote(trained)
        wait_until(lambda: exchange.answering() == {trained}, "the version answers")
    assert {answer.status for answer in asked.answers} == {200}
    assert Promotions(exchange.workspace).read() == Promotions(there).read()
    exchange.place.rename(tmp_path / "unmounted")
    behind = "fusion_model_behind"
    wait_until(lambda: exchange.service.metric(behind) == 1, "the service says it")
    assert exchange.answering() == {trained}
