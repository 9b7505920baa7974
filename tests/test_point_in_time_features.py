"""Every feature of a training row equals a loop over the raw events."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from feast_fusion.training_set import TrainingSet
from intake.workspace import Workspace
from tests.conftest import Project
from tests.oracles.features import RawData, Row, expected_features
from training.spine import SPINE_COLUMNS
from transformations.embedder import Embedder
from transformations.text import render_items

N_ROWS = 2000


def raw_data(workspace: Workspace) -> RawData:
    """The raw files of a data set, read without the code under test."""
    dataset = workspace.dataset
    (sink,) = workspace.sinks.glob("item_embedding__*")
    embedder = Embedder(workspace, sink.name.split("__")[1])
    vectors: dict[str, Any] = {}

    def embed(text: str) -> Any:
        if text not in vectors:
            matrix, present = embedder.cached.embed([text])
            vectors[text] = matrix[0].astype(np.float64) if present[0] else None
        return vectors[text]

    def behaviour_vector(liked: list[str], disliked: list[str]) -> Any:
        matrix, present = embedder.behaviours([liked], [disliked])
        return matrix[0].astype(np.float64) if present[0] else None

    events = pl.read_parquet(dataset.interactions.path)
    positive = dataset.interactions.positive
    is_positive = pl.sql_expr(positive) if positive else pl.lit(True)
    return RawData(
        items=pl.read_parquet(dataset.items.path).to_dicts(),
        users=pl.read_parquet(dataset.users.path).to_dicts() if dataset.users else [],
        events=events.with_columns(positive=is_positive).to_dicts(),
        item_columns=[
            dataset.items.title,
            *dataset.items.text_columns,
            *dataset.items.numeric,
            *dataset.items.categorical,
        ],
        user_columns=[*dataset.users.numeric, *dataset.users.categorical] if dataset.users else [],
        title=dataset.items.title,
        categorical=list(dataset.items.categorical),
        explicit=dataset.interactions.explicit,
        history=dataset.activity.history,
        snapshot_every=dataset.activity.snapshot_every,
        window_days=dataset.activity.window_days,
        decay=dataset.interest.decay,
        weights=(dataset.interest.positive_weight, dataset.interest.negative_weight),
        item_vector=lambda row: embed(
            render_items(dataset.items.text, pa.Table.from_pylist([row]))[0]
        ),
        behaviour_vector=behaviour_vector,
    )


def values_of(training_set: TrainingSet, row: int) -> Row:
    """Every feature of one row, as plain Python values; None where there is none."""
    values: Row = {
        name: training_set.table[name][row].as_py() for name in training_set.table.column_names
    }
    for name, column in {**training_set.vectors, **training_set.lists}.items():
        at = int(column.index[row])
        if at < 0:
            values[name] = None
        elif isinstance(column.values, np.ndarray):
            values[name] = column.values[at].astype(np.float64)
        else:
            values[name] = column.values[at].as_py()
    return values


def differences(
    training_set: TrainingSet, raw: RawData, rows: np.ndarray[Any, Any]
) -> Iterator[str]:
    """Where a feature is not what the loop over the raw events gives.

    What other people answered is computed from versions; its loops are in `tests/training/ranker`.
    """
    for row in rows.tolist():
        found = values_of(training_set, row)
        expected = expected_features(
            raw, found["user_id"], found["item_id"], found["event_timestamp"]
        )
        names = found.keys() - {*SPINE_COLUMNS}
        names = {name for name in names if not name.startswith("collaborative__")}
        for name in sorted(names | expected.keys()):
            if not same(found.get(name), expected.get(name)):
                yield f"row {row}, {name}: {found.get(name)} is not {expected.get(name)}"


def same(found: Any, expected: Any) -> bool:
    if found is None or expected is None:
        return found is None and expected is None
    if isinstance(expected, np.ndarray):
        return bool(np.allclose(found, expected, atol=1e-5))
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, float):
        both_nan = math.isnan(found) and math.isnan(expected)
        return both_nan or math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-9)
    return bool(found == expected)


@pytest.mark.parametrize("name", ["films", "shop"])
def test_features_equal_the_loop_over_raw_events(name: str, request: pytest.FixtureRequest) -> None:
    project: Project = request.getfixturevalue(name)
    training_set = TrainingSet.open(project.workspace.training_set)
    rng = np.random.default_rng(5)
    rows = rng.permutation(len(training_set))[:N_ROWS]
    assert list(differences(training_set, raw_data(project.workspace), rows)) == []


def test_a_planted_leak_is_caught(films: Project) -> None:
    """`<` to `<=`: a label that sees events of its own instant differs in many features."""
    training_set = TrainingSet.open(films.workspace.training_set)
    raw = raw_data(films.workspace)
    raw.before = lambda event, label: event <= label
    found = list(differences(training_set, raw, np.arange(50)))
    assert any("user_stats__user_n_events" in line for line in found)
    assert any("user_interest" in line for line in found)
