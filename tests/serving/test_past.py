"""Answers of the past: those of a service that had stopped then, blind to what came later."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from cli.embedded_redis import embedded_redis
from cli.feast_repository import open_store
from cli.redis_url import connection_string
from feast_fusion.times import TIMESTAMP
from intake.workspace import Workspace, open_workspace
from serving.assembly import open_recommender
from serving.past import PastRecommender
from serving.recommender import Recommender
from tests.applying import apply_here
from tests.conftest import Project
from tests.feast_fusion.online.online_repo import PATIENT
from tests.trained import served
from transformations.prepared_sources import write_sources

WARM_UP = timedelta(days=400)


@dataclass(frozen=True)
class Stopped:
    """A service that stopped at an instant, and the past of a workspace that has gone on."""

    then: Recommender
    past: PastRecommender
    events: pl.DataFrame
    instant: datetime


def instant_of(events: pl.DataFrame) -> datetime:
    """Half-way, so that users, items and versions of the models come later."""
    found = events["event_timestamp"].sort()[len(events) // 2]
    assert isinstance(found, datetime)
    return found


@pytest.fixture(scope="module")
def events(films: Project) -> pl.DataFrame:
    return pl.read_parquet(films.workspace.sources / "interactions.parquet")


def stop_at(films: Workspace, folder: Path, instant: datetime) -> Workspace:
    """The films as their files were at an instant, with the artifact of the whole."""
    data = folder / "data"
    shutil.copytree(films.dataset.path.parent, data)
    stopped = open_workspace(data / films.dataset.path.name, folder / "home")
    path = stopped.dataset.interactions.path
    past = pl.read_parquet(path).filter(pl.col("event_timestamp") < instant)
    path.unlink()
    past.write_parquet(path)
    write_sources(stopped)
    shutil.copytree(films.models, stopped.models)
    shutil.copytree(films.vectors, stopped.vectors)
    return stopped


@contextmanager
def open_stopped(films: Workspace, folder: Path, events: pl.DataFrame) -> Iterator[Stopped]:
    instant = instant_of(events)
    stopped = stop_at(films, folder, instant)
    with embedded_redis(folder / "redis") as redis:
        connection = connection_string(redis.url)
        apply_here(stopped)
        store = open_store(stopped, connection)
        store.config._online_store = store.config.online_store.model_copy(update=PATIENT)
        store.materialize(instant - WARM_UP * 20, instant)
        past = PastRecommender(films, open_store(films), served(films))
        with open_recommender(stopped, store, clock=lambda: instant) as then:
            yield Stopped(then, past, events, instant)


@pytest.fixture(scope="module")
def stopped(
    films: Project, events: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stopped]:
    folder = tmp_path_factory.mktemp("stopped")
    with open_stopped(films.workspace, folder, events) as opened:
        yield opened


def test_the_past_answers_as_a_service_that_had_stopped_then(stopped: Stopped) -> None:
    users = [*stopped.events["user_id"].unique().sort()[::3], "stranger"]
    kinds = set()
    for user in users:
        then = stopped.then.recommend(user, 20)
        past = stopped.past.recommend(user, stopped.instant, 20)
        kinds.add(then.user)
        assert not then.degraded
        assert (past.user, past.n_candidates) == (then.user, then.n_candidates)
        expected = {item.item_id: item for item in then.items}
        assert [i.item_id for i in past.items] == [i.item_id for i in then.items]
        for item in past.items:
            other = expected[item.item_id]
            assert item.score == pytest.approx(other.score, rel=1e-3)
            assert item.liked == pytest.approx(other.liked, abs=1e-4)
            assert (item.title, item.features, item.cold) == (
                other.title,
                other.features,
                other.cold,
            )
    assert "known" in kinds and len(kinds) > 1


def test_many_answers_at_once_are_those_of_one_at_a_time(
    films: Project, events: pl.DataFrame
) -> None:
    workspace = films.workspace
    artifact = served(workspace)
    past = PastRecommender(workspace, open_store(workspace), artifact)
    asked = events.sort("event_timestamp")[::127].select("user_id", "event_timestamp")
    requests = asked.to_arrow()
    shuffled = requests.take(pa.array(np.random.default_rng(0).permutation(len(requests))))
    rows = shuffled.to_pylist()
    found = {answer.number: answer for answer in past.answers(shuffled, 5)}
    assert sorted(found) == list(range(len(rows)))
    for number, row in enumerate(rows):
        alone = past.recommend(row["user_id"], row["event_timestamp"], 5)
        together = found[number].answer
        assert together.user_id == row["user_id"]
        assert [i.item_id for i in together.items] == [i.item_id for i in alone.items]


def test_every_item_that_can_be_chosen_has_one_place(films: Project, events: pl.DataFrame) -> None:
    workspace = films.workspace
    artifact = served(workspace)
    past = PastRecommender(workspace, open_store(workspace), artifact)
    instant = events["event_timestamp"].max()
    assert isinstance(instant, datetime)
    spine = pa.table({"user_id": ["u3"], "event_timestamp": pa.array([instant], TIMESTAMP)})
    (answer,) = past.answers(spine)
    mine = events.filter((pl.col("user_id") == "u3") & (pl.col("event_timestamp") < instant))
    seen = set(mine["item_id"])
    item_ids = answer.catalogue.item_ids
    for rows in (answer.order, answer.candidates):
        assert sorted(item_ids[row] for row in rows) == sorted(set(item_ids) - seen)
    top = [item.item_id for item in answer.answer.items]
    assert [item_ids[row] for row in answer.order[:10]] == top
