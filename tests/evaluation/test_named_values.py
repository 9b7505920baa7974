"""Queries made of the data: what is measured of them, and that something worse measures worse."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from cli.feast_repository import open_store
from evaluation import named_values
from evaluation.named_values import measure_named
from serving.past import PastRecommender
from tests.conftest import Project
from tests.trained import served
from transformations.collaborative.prepared_log import read_prepared_events
from transformations.embedder import Embedder


def measured(films: Project) -> dict[str, tuple[float | None, float | None]]:
    workspace = films.workspace
    artifact = served(workspace)
    recommender = PastRecommender(workspace, open_store(workspace), artifact)
    embedder = Embedder(workspace, artifact.encoder_id)
    events = read_prepared_events(workspace)
    found = measure_named(recommender, embedder, events, lambda what, done, total: None)
    return {each.column: (each.having, each.taste) for each in found}


def test_what_is_named_comes_and_taste_is_left(films: Project) -> None:
    found = measured(films)
    assert {*found} == {"genres", "decade"}
    for having, _ in found.values():
        assert having is not None and having > 0.95
    taste = found["genres"][1]
    assert taste is not None and taste > 0.5


def test_who_does_not_listen_measures_worse(
    films: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(named_values, "read_query", lambda catalogue, embedder, text: None)
    having, _ = measured(films)["decade"]
    assert having is not None and having < 0.6


@dataclass(frozen=True)
class Answer:
    order: Any


def test_shares_are_of_what_could_be() -> None:
    rows = np.arange(0, 60, 2)  # 30 items have it
    plain = Answer(np.arange(60))
    assert named_values._compare(rows, Answer(rows), plain) == (1.0, 1.0)  # type: ignore[arg-type]
    assert named_values._compare(rows, plain, plain) == (0.5, 0.5)  # type: ignore[arg-type]
    backwards = Answer(rows[::-1])
    assert named_values._compare(rows, backwards, plain) == (1.0, 0.0)  # type: ignore[arg-type]
    few = named_values._compare(rows[:3], plain, plain)  # type: ignore[arg-type]
    assert few[0] == 1.0 and np.isnan(few[1])
