"""The whole job with a writer behind a real server: history, online, ranker, and no call twice."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TextIO

import click
import numpy as np
import pandas as pd
import polars as pl
import polars.selectors as cs
import pytest

from cli.embedded_redis import embedded_redis
from cli.feast_repository import open_store
from cli.recommend import answer_lines
from cli.redis_url import connection_string
from cli.write import write_all
from feast_fusion.redis_matrix import online_store_of, read_online
from forgetting.evidence import gather_evidence
from serving.http.app import create_app
from serving.http.library import open_library
from serving.http.settings import ServiceSettings
from serving.portraits import Portraits
from tests.conftest import Project, open_project
from tests.datasets import BRIEF_CANDIDATES, START, make_films
from tests.feast_fusion.writing.chat_server import Behaviour, chat_server
from tests.forgetting.known_person import audit_home
from tests.serving.http.service_process import copy_project, serving_here
from tests.trained import served
from tests.waiting import wait_until
from training.audit.skew_audit import audit_log
from transformations.declared_encoders import identify
from transformations.embedder import Embedder
from transformations.names import SERVICE, USER_SNAPSHOTS
from transformations.prepared_sources import write_sources
from transformations.writing import user_writer

SECTION = """
[writer]
model = "some/model"
choices = {{mood = ["light", "dark", "tense"]}}
words = {{themes = 3}}
in_text = ["mood"]
[writer.user]
choices = {{taste = ["narrow", "wide"]}}
portrait_words = 12
[writer.server]
url = "{url}"
n_attempts = 1
[ranker]
epochs = 1
"""
N_ITEMS = 30
CHANGED = START + timedelta(days=10)


@dataclass
class Written:
    project: Project
    server: Behaviour
    printed: str

    @property
    def snapshots(self) -> pl.DataFrame:
        return pl.read_parquet(self.project.workspace.source(USER_SNAPSHOTS))

    def sink(self, view: str) -> Path:
        (found,) = self.project.workspace.sinks.glob(f"{view}__*")
        return found

    def asked_of(self, what: str) -> list[str]:
        return [prompt for prompt in self.server.asked if f"\n{what}: " in prompt]


def describe(folder: Path, url: str) -> Path:
    """Few films, of which one has another title from `CHANGED` on."""
    path = make_films(folder, n_users=15, n_items=N_ITEMS, n_events=200)
    items = pl.read_parquet(folder / "items.parquet")
    newer = items.head(1).with_columns(
        title=pl.lit("War of worlds"),
        event_timestamp=pl.lit(CHANGED).cast(items.schema["event_timestamp"]),
    )
    pl.concat([items, newer]).write_parquet(folder / "items.parquet")
    text = path.read_text(encoding="utf-8") + SECTION.format(url=url) + BRIEF_CANDIDATES
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    folder, server = tmp_path_factory.mktemp("written"), Behaviour()
    with chat_server(server) as url:
        project = open_project(describe(folder / "data", url), folder / "home")
        printed = project.here("run").stdout
        yield Written(project, server, printed)


def portrait_of(snapshot: dict[str, list[str]]) -> str:
    """What the server writes of a behaviour, as slowly as anyone can check it."""
    kinds = (("liked", snapshot["liked"]), ("disliked", snapshot["disliked"]))
    text = " ".join(f"{kind} {'; '.join(titles)}." for kind, titles in kinds if titles)
    return " ".join(f"Likes what {text}".split()[:12])


def test_each_text_is_asked_about_once_and_the_cost_is_said(written: Written) -> None:
    items, people = written.asked_of("Item"), written.asked_of("Person")
    texts = written.snapshots.select("liked", "disliked").unique(maintain_order=True)
    assert len(items) == len(set(items)) == N_ITEMS + 1
    assert len(people) == len(set(people)) == len(texts)
    for what, n_texts in (("Attributes", len(items)), ("Portraits", len(people))):
        assert f"{what} of {n_texts} texts, estimated: {n_texts} calls" in written.printed
        assert f"{what} written: {n_texts} calls" in written.printed
    n_asked = len(written.server.asked)
    said = written.project.here("write", "--json")
    costs, again = json.loads(said.stdout), said.stderr
    assert {what: cost["n_calls"] for what, cost in costs.items()} == {
        "attributes": 0,
        "portraits": 0,
    }
    assert f"Attributes: all written before ({len(items)} calls" in again
    assert f"Portraits: all written before ({len(people)} calls" in again
    assert len(written.server.asked) == n_asked


def test_history_has_each_version_and_online_the_newest(written: Written) -> None:
    workspace = written.project.workspace
    items, people = written.sink("item_attributes"), written.sink("user_portrait")
    of_u1 = written.snapshots.filter(user_id="u1").sort("event_timestamp").to_dicts()
    middle = of_u1[len(of_u1) // 2]
    with embedded_redis(workspace.redis) as running:
        store = open_store(workspace, connection_string(running.url))
        tags = {view.name: view.tags for view in store.list_batch_feature_views()}
        times = [CHANGED - timedelta(days=1), CHANGED + timedelta(days=1)]
        asked = pd.DataFrame(
            {"user_id": "u1", "item_id": "f0", "event_timestamp": pd.to_datetime(times)}
        )
        service = store.get_feature_service(SERVICE)
        assert service.tags["writer_id"] == tags[items.name]["writer_id"]
        assert service.tags["user_writer_id"] == tags[people.name]["writer_id"]
        found = store.get_historical_features(asked, service).to_df()
        themes = [list(words) for words in found["themes"]]
        assert themes == [["film", "number", "0"], ["war", "of", "worlds"]]
        features = [f"{items.name}:mood", f"{items.name}:themes"]
        online = read_online(store, features, {"item_id": ["f0", "f1"]})
        assert list(online.columns["themes"].values[:3]) == themes[1]  # type: ignore[union-attr]
        portraits = Portraits(store)
        assert portraits.now("u1") == portrait_of(of_u1[-1])
        assert portraits.now("nobody") is None
        known = middle["event_timestamp"]
        assert portraits.as_of("u1", known) == portrait_of(middle)
        assert portraits.as_of("u1", known - timedelta(microseconds=1)) != portrait_of(middle)
        assert portraits.as_of("u1", START - timedelta(days=1)) is None
        online_store_of(store).disconnect()


def test_attributes_are_part_of_the_text_that_is_encoded(written: Written) -> None:
    """The vector of an item is that of its text with the mood that the server wrote of it."""
    dataset, workspace = written.project.workspace.dataset, written.project.workspace
    rows = pl.read_parquet(written.sink("item_embedding") / "**/*.parquet")
    moods = pl.read_parquet(written.sink("item_attributes") / "**/*.parquet")
    joined = rows.join(moods, on=["item_id", "event_timestamp"], validate="1:1")
    row = joined.row(by_predicate=pl.col("item_id") == "f5", named=True)
    plain = "Film number 5 (1955). Genres: Comedy, Drama."
    cache = Embedder(workspace, identify(dataset).encoder_id).cached.cache
    vectors, found = cache.lookup([f"{plain} Mood: {row['mood']}.", plain])
    assert found.tolist() == [True, False]
    np.testing.assert_array_equal(vectors[0], np.array(row["item_embedding"], dtype=np.float32))
    bare = dataset.writer.model_copy(update={"in_text": ()})  # type: ignore[union-attr]
    without = identify(dataset.model_copy(update={"writer": bare}))
    assert without.encoder_id != identify(dataset).encoder_id, "they are other texts"


def test_the_ranker_reads_categories_and_vectors_but_no_portrait(written: Written) -> None:
    workspace = written.project.workspace
    features = served(workspace).features
    known = features.vocabularies
    assert set(known["item_attributes__mood"].values) == {"light", "dark", "tense"}
    assert "number" in known["item_attributes__themes"].values
    assert set(known["user_portrait__taste"].values) <= {"narrow", "wide"}
    assert features.user_texts == ("user_embedding", "user_interest", "portrait_embedding")
    assert "Top 10 for user" in written.printed
    files = [path for path in workspace.home.rglob("*") if path.is_file()]
    with_text = {
        path.relative_to(workspace.home).parts[: 2 if workspace.root in path.parents else 1]
        for path in files
        if b"Likes what" in _content(path)
    }
    name = workspace.dataset.name
    wanted = {("writings",), (name, "sinks")}
    assert wanted <= with_text <= wanted | {(name, "redis")}, "where a person's text may be"


def _content(path: Path) -> bytes:
    """The bytes of a file; of Parquet those of its strings, which are compressed."""
    if path.suffix != ".parquet":
        return path.read_bytes()
    return str(pl.read_parquet(path).select(cs.string()).rows()).encode()


def test_an_explanation_shows_the_portrait_of_now_or_of_then(written: Written) -> None:
    workspace = written.project.workspace
    told = written.snapshots.filter(user_id=written.snapshots["user_id"].mode().sort()[0])
    *_, before, last = told.sort("event_timestamp").to_dicts()
    user = last["user_id"]
    with embedded_redis(workspace.redis) as running:
        store = open_store(workspace, connection_string(running.url))
        with (
            open_library(workspace, store, log_served=1.0) as library,
            serving_here(create_app(*library, ServiceSettings(log_requests=False))) as service,
        ):
            recommender, asked = library[0].main, {"user_id": user, "n": 3}
            explained = service.post("/recommend", {**asked, "explain": True}).json()
            assert explained["portrait"] == portrait_of(last)
            assert service.post("/recommend", asked).json()["portrait"] is None
            answer = recommender.recommend(user, 3, explain=True)
            assert f"Of this user: {portrait_of(last)}" in answer_lines(answer)
            past = recommender.as_of(before["event_timestamp"])
            assert past.recommend(user, 3, explain=True).portrait == portrait_of(before)
            assert past.recommend(user, 3).portrait is None
    report = audit_log(workspace, store, store.get_feature_service(SERVICE))
    assert report.is_clean and report.n_rows > 0, report.lines()
    served = {feature.feature for view in report.views for feature in view.features}
    assert {"user_portrait__taste", "portrait_embedding"} <= served
    assert "user_portrait__portrait" not in served


def test_a_forgotten_person_is_in_nothing_that_was_written(
    written: Written, tmp_path: Path
) -> None:
    """Portraits, what else the model said, and the vectors of both kinds of texts."""
    project, user = copy_project(written.project, tmp_path / "home"), "u3"
    workspace = project.workspace
    evidence = gather_evidence(workspace, user)
    texts = written.snapshots.select("liked", "disliked")
    own = written.snapshots.filter(user_id=user).select("liked", "disliked")
    others = written.snapshots.filter(pl.col("user_id") != user).select("liked", "disliked")
    only_theirs = own.unique().join(others, on=["liked", "disliked"], how="anti", nulls_equal=True)
    portraits = {portrait_of(row) for row in only_theirs.to_dicts()}
    assert len(evidence.writings) == len(only_theirs) > 0
    assert portraits <= {*evidence.texts}
    cached = Embedder(workspace, identify(workspace.dataset).encoder_id).cached.cache
    assert cached.lookup(sorted(portraits))[1].all()

    left = audit_home(project, evidence, user).leftovers
    files = [Path(each.place) for each in left if not each.place.startswith("Redis")]
    folders = {path.relative_to(workspace.home).parts[0] for path in files}
    assert folders == {"writings", "vectors", workspace.dataset.name}
    project.here("forget", user)
    assert audit_home(project, evidence, user).leftovers == ()

    vectors = Embedder(workspace, identify(workspace.dataset).encoder_id).cached.cache
    assert not vectors.lookup(sorted(portraits))[1].any()
    kept = user_writer(workspace).kept(others.to_arrow())
    assert len(kept) == len(texts.unique()) - len(only_theirs), "and everybody else's is there"


@contextmanager
def terminal(typed: str) -> Iterator[TextIO]:
    """Standard input of a person who types that."""
    master, slave = os.openpty()
    os.write(master, typed.encode())
    with os.fdopen(slave, encoding="utf-8") as stdin:
        yield stdin
    os.close(master)


def test_a_killed_run_goes_on_where_it_was_once_the_cost_is_agreed_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Behaviour(delay_s=0.05)
    with chat_server(server) as url:
        project = open_project(describe(tmp_path / "data", url), tmp_path / "home")
        write_sources(project.workspace)
        command = [str(Path(sys.executable).parent / "feast-fusion"), "write"]
        options = ["--dataset", str(project.workspace.dataset.path)]
        options += ["--home", str(project.workspace.home)]
        process = subprocess.Popen(
            [*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(lambda: len(server.asked) > 20)  # of batches of 8 and 16
        process.kill()
        process.wait()
        wait_until(lambda: not server.under_way)
        first = set(server.asked)
        server.asked.clear()
        monkeypatch.setattr("cli.write._LONG_S", 0.0)
        with monkeypatch.context() as at_terminal, terminal("n\n") as stdin:
            at_terminal.setattr(sys, "stdin", stdin)
            with pytest.raises(click.Abort):
                write_all(project.workspace)
        assert not server.asked, "who says no is asked first"
        write_all(project.workspace)
        every = first | set(server.asked)
        assert len(server.asked) <= len(every) - 8, "the first batch is asked about no more"
        assert sum("\nItem: " in prompt for prompt in every) == N_ITEMS + 1


def test_without_a_writer_the_command_says_what_is_missing(tmp_path: Path) -> None:
    project = open_project(make_films(tmp_path / "data"), tmp_path / "home")
    done = project.here("write", fails=True)
    assert "got no [writer]" in done.stderr and "Traceback" not in done.stderr
