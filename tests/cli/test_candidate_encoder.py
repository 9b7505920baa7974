"""Another encoder is tried beside the one that serves, switched to under load, and made the main.

Its vectors have another width: where two encoders met in one answer, something would raise. And
each answer is compared with what history alone gives for its version.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cli.candidate_encoder import is_ready
from cli.feast_repository import open_store
from cli.recommend import open_past
from cli.redis import redis_of
from evaluation.encoder_cost import EncoderCost
from feast_fusion.column_names import vector_view
from feast_fusion.parquet.whole import read_parquet
from feast_fusion.redis_matrix import online_store_of
from intake.workspace import Workspace
from serving.answers import Recommendations
from serving.http.library import open_library
from tests.applying import apply_here
from tests.candidate import CANDIDATE, declare, encoder_ids, with_candidate
from tests.conftest import Project, open_project
from tests.serving.http.service_process import Answer, Service, service_process
from tests.waiting import PATIENCE_S, wait_until
from training.model_versions import ModelVersions
from training.promotions import Promotions
from transformations.embedder import Embedder
from transformations.names import ITEM_EMBEDDING

USERS = [f"u{n}" for n in range(6)]
QUERY, N = "a western", 8


@dataclass(frozen=True)
class Rehearsed:
    """A project whose candidate was rehearsed; its first version answers."""

    project: Project
    first: str
    second: str
    found: dict[str, Any]

    @property
    def workspace(self) -> Workspace:
        return self.project.workspace


def rehearse(project: Project, *options: str) -> dict[str, Any]:
    said = project.here("rehearse", *options, "--json").stdout
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def rehearsed(films: Project, tmp_path_factory: pytest.TempPathFactory) -> Rehearsed:
    project = with_candidate(films, tmp_path_factory.mktemp("candidate"))
    first = Promotions(project.workspace).read().main
    found = rehearse(project, "--encoder", CANDIDATE)
    return Rehearsed(project, first, found["candidate"]["version"], found)


def test_an_encoder_is_not_ready_before_it_has_vectors(films: Project, tmp_path: Path) -> None:
    project = with_candidate(films, tmp_path)
    apply_here(project.workspace)
    main, candidate = encoder_ids(project)
    assert is_ready(project.workspace, main)
    assert not is_ready(project.workspace, candidate), "its views are applied, and nothing more"


def test_a_version_on_its_vectors_is_tried_and_its_cost_is_measured(rehearsed: Rehearsed) -> None:
    workspace, found = rehearsed.workspace, rehearsed.found
    main, candidate = encoder_ids(rehearsed.project)
    versions = ModelVersions(workspace)
    assert versions.find(rehearsed.second).encoder_id == candidate
    assert found["serving"]["version"] == rehearsed.first
    assert found["n_queries"] > 0 and found["differences"]["ndcg@10"]["high"] is not None
    assert Promotions(workspace).read().shares == {rehearsed.first: 1.0}, "nobody has promoted it"
    ours, other = (EncoderCost(**each) for each in found["encoders"])
    assert (ours.encoder_id, other.encoder_id) == (candidate, main)
    assert (ours.dimension, other.dimension) == (32, 384)
    assert ours.n_rows == other.n_rows and ours.n_texts == other.n_texts > ours.n_rows / 3
    assert ours.redis_bytes < other.redis_bytes / 3 and 0 < ours.s_per_1000 < other.s_per_1000


def test_what_was_done_is_not_done_again(rehearsed: Rehearsed) -> None:
    workspace = rehearsed.workspace
    weights = workspace.models / rehearsed.second / "served" / "arrays.safetensors"
    trained, texts = weights.stat().st_mtime_ns, rehearsed.found["encoders"][0]["n_texts"]
    said = rehearsed.project.here("rehearse", "--encoder", CANDIDATE).stdout
    assert f"Unchanged since model {rehearsed.second} was trained" in said
    assert f"{texts:,} texts" in said and weights.stat().st_mtime_ns == trained
    assert "1900" not in said, "materialized from the beginning once"


def test_an_unknown_candidate_is_refused(rehearsed: Rehearsed) -> None:
    said = rehearsed.project.here("rehearse", "--encoder", "huge", fails=True).stderr
    assert "[encoder.candidates.huge]" in said and CANDIDATE in said
    on_other = ("--encoder", CANDIDATE, "--model", rehearsed.first)
    assert "expected all_minilm" in rehearsed.project.here("rehearse", *on_other, fails=True).stderr


@pytest.fixture(scope="module")
def service(rehearsed: Rehearsed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    log = tmp_path_factory.mktemp("switch") / "log"
    with service_process(rehearsed.project, log, "--rank-threads", "2") as served:
        yield served.service


@dataclass
class Clients:
    """Ask without a pause: recommendations to queries, and vectors."""

    service: Service
    answers: list[tuple[str, Answer]] = field(default_factory=list)
    vectors: list[Answer] = field(default_factory=list)
    is_over: bool = False

    def ask(self, user_id: str) -> Answer:
        return self.service.post("/recommend", {"user_id": user_id, "n": N, "query": QUERY})

    def run(self) -> None:
        while not self.is_over:
            for user_id in USERS:
                self.answers.append((user_id, self.ask(user_id)))
            self.vectors.append(self.service.post("/v1/embeddings", {"input": QUERY}))

    def answering(self) -> set[str]:
        return {self.ask(user_id).json()["model"] for user_id in USERS}


@contextmanager
def load(service: Service) -> Iterator[Clients]:
    clients = Clients(service)
    threads = [threading.Thread(target=clients.run) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield clients
    finally:
        clients.is_over = True
        for thread in threads:
            thread.join()


def from_history(project: Project) -> dict[str, list[tuple[str, float]]]:
    """What the promoted version answers each user now, from the offline store alone."""
    past = open_past(project.workspace, datetime.now(UTC))
    return {user: scored(past.recommend(user, N, query=QUERY)) for user in USERS}


def scored(answer: Recommendations) -> list[tuple[str, float]]:
    return [(item.item_id, item.liked) for item in answer.items]


def test_every_answer_under_load_is_of_one_encoder(rehearsed: Rehearsed, service: Service) -> None:
    project, first, second = rehearsed.project, rehearsed.first, rehearsed.second
    expected = {first: from_history(project)}
    with load(service) as clients:
        wait_until(lambda: len(clients.answers) > 30, "answers before")
        project.here("models", "promote", second)
        wait_until(lambda: clients.answering() == {second}, "the candidate answers")
        expected[second] = from_history(project)
        seen = len(clients.answers)
        wait_until(lambda: len(clients.answers) > seen + 60, "answers by it")
        project.here("models", "rollback")
        wait_until(lambda: clients.answering() == {first}, "the first one answers")
    assert {answer.status for _, answer in clients.answers} == {200}
    assert {answer.json()["model"] for _, answer in clients.answers} == {first, second}
    for user_id, each in clients.answers:
        answer = each.json()
        assert answer["reasons"] == [], "a whole answer"
        found = [(item["item_id"], item["liked"]) for item in answer["items"]]
        wanted = expected[answer["model"]][user_id]
        assert [item for item, _ in found] == [item for item, _ in wanted]
        assert [liked for _, liked in found] == pytest.approx([s for _, s in wanted], abs=2e-3)
    assert expected[first] != expected[second]
    widths = dict(zip(encoder_ids(project), (384, 32), strict=True))
    assert {answer.status for answer in clients.vectors} == {200}
    told = [answer.json() for answer in clients.vectors]
    assert {each["model"] for each in told} == {*widths}
    assert all(len(each["data"][0]["embedding"]) == widths[each["model"]] for each in told)


def test_the_candidate_becomes_the_main_encoder_and_nothing_is_made_again(
    rehearsed: Rehearsed, service: Service
) -> None:
    project, second = rehearsed.project, rehearsed.second
    project.here("models", "promote", second)
    clients = Clients(service)
    wait_until(lambda: clients.answering() == {second}, "the candidate answers")
    path, (main, candidate) = project.workspace.dataset.path, encoder_ids(project)
    before = path.read_text()
    head, _, rest = before.partition("[encoder]")
    mine = rest.index("[encoder.candidates")
    tail = rest[rest.index("\n[ranker]") :]
    model = project.workspace.dataset.encoder.candidates[CANDIDATE].model
    path.write_text(f'{head}[encoder]\nmodel = "{model}"\n{tail}')
    changed = open_project(path, project.workspace.home)
    assert encoder_ids(changed) == [candidate] and mine
    n_texts = len(Embedder(changed.workspace, candidate).cached.cache)
    said = changed.here("run").stdout
    assert f"Unchanged since model {second} was trained" in said
    assert len(Embedder(changed.workspace, candidate).cached.cache) == n_texts
    assert clients.answering() == {second}
    refused = changed.here("models", "promote", rehearsed.first, fails=True).stderr
    assert main in refused and "rehearse --encoder NAME" in refused
    declare(path, "former", "sentence-transformers/all-MiniLM-L6-v2", max_tokens=64)
    again = open_project(path, project.workspace.home)
    assert encoder_ids(again) == [candidate, main]
    rehearse(again, "--encoder", "former", "--model", rehearsed.first)
    again.here("models", "promote", rehearsed.first)
    wait_until(lambda: clients.answering() == {rehearsed.first}, "the former encoder answers")
    answer = clients.ask(USERS[0]).json()
    assert answer["reasons"] == []


def test_an_item_that_is_posted_has_a_vector_of_each_encoder(rehearsed: Rehearsed) -> None:
    workspace = rehearsed.workspace
    with redis_of(workspace) as redis:
        store = open_store(workspace, redis)
        with open_library(workspace, store) as (_, _, rows, *_):
            taken = rows.put("items", [{"item_id": "posted", "title": "A posted western"}])
            taken.applied.result(PATIENCE_S)
        for encoder_id in encoder_ids(rehearsed.project):
            view = vector_view(ITEM_EMBEDDING, encoder_id)
            assert (
                "posted" in read_parquet(workspace.sink(view), ["item_id"])["item_id"].to_pylist()
            )
            found = store.get_online_features(
                features=[f"{view}:{ITEM_EMBEDDING}"], entity_rows=[{"item_id": "posted"}]
            ).to_dict()
            assert found[ITEM_EMBEDDING][0] is not None
        online_store_of(store).disconnect()
