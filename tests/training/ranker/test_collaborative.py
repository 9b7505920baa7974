"""Collaborative numbers: by loops from the events before a row, and the same in a request."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp

from feast_fusion.times import TIMESTAMP
from feast_fusion.training_set import Indexed, TrainingSet
from intake.workspace import Workspace
from tests.oracles import item_factors as factor_oracle
from tests.oracles.item_models import ease, history_rows, weighted_history
from tests.training.synthetic import make_dataset, without
from tests.transformations.collaborative.logs import random_log
from training.ranker.collaborative import COLUMNS, NAMES, Collaboration, Collaborations
from transformations.collaborative.histories import Events, Histories
from transformations.collaborative.item_factors import FactorVersion, build_item_factors
from transformations.collaborative.neighbour_fit import build_item_neighbours
from transformations.collaborative.versions import version_ends
from transformations.id_map import IdMap

EVERY, LIMIT = 90, 5
LOG = random_log(300, users=10, items=12, seed=4)


def rows_of(events: Events) -> TrainingSet:
    """Every event as a row, with the user's newest events strictly before it, by a loop."""
    lists: dict[str, list[list]] = {name: [] for name in ("item_ids", "values", "positives", "age")}
    index, last_event = np.full(len(events), -1, np.int32), []
    for row in range(len(events)):
        past = history_rows(events, int(events.user[row]), int(events.time[row]), LIMIT)[::-1]
        last_event.append(int(events.time[past[0]]) // 1_000_000 if past else None)
        if past:
            index[row] = len(lists["item_ids"])
            lists["item_ids"].append(events.items.take(events.item[past]).to_pylist())
            lists["values"].append(events.value[past].tolist())
            lists["positives"].append([int(events.positive[at]) for at in past])
            lists["age"].append([int(events.time[past[0]] - events.time[at]) for at in past])
    table = pa.table(
        {
            "user_id": events.users.take(events.user),
            "item_id": events.items.take(events.item),
            "event_timestamp": pa.array(events.time, pa.int64()).cast(TIMESTAMP),
            "user_stats__user_last_event_s": pa.array(last_event, pa.int64()),
        }
    )
    columns = {
        "item_ids": "item_ids",
        "values": "values",
        "positives": "positives",
        "ages_s": "age",
    }
    return TrainingSet(
        table,
        {},
        {
            f"user_recent__{name}": Indexed(pa.array(lists[of]), index)
            for name, of in columns.items()
        },
    )


def versions_of(events: Events, home: Path) -> Collaborations:
    workspace = Workspace(make_dataset(), home)
    workspace.sources.mkdir(parents=True)
    for table in (build_item_neighbours(events, EVERY, LIMIT), build_item_factors(events, EVERY)):
        pq.write_table(pa.concat_tables(table.chunks), workspace.source(table.name))
    return Collaborations(workspace, events.items.ids)


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Collaborations:
    return versions_of(LOG, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def rows(versions: Collaborations) -> TrainingSet:
    return versions.add_to(rows_of(LOG))


def numbers_of(rows: TrainingSet) -> np.ndarray:
    """(n, names)"""
    columns = (rows.table[name].to_numpy() for name in COLUMNS)
    return np.stack(list(columns), axis=1)


def test_numbers_are_those_of_a_loop_over_what_was_before(rows: TrainingSet) -> None:
    found = numbers_of(rows)
    for row in (0, 60, 95, 150, 230, 299):
        now = int(LOG.time[row])
        ends = [end for end in version_ends(LOG.time, EVERY) if LOG.time[end - 1] < now]
        expected = by_loop(row, ends[-1] if ends else 0)
        np.testing.assert_allclose(found[row], expected, rtol=1e-4, atol=2e-5, err_msg=str(row))
    assert np.isfinite(found[-1]).all()


def by_loop(row: int, end: int) -> list[float]:
    user, now, item = int(LOG.user[row]), int(LOG.time[row]), int(LOG.item[row])
    past = history_rows(LOG, user, now, LIMIT)
    numbers = []
    for given in (LOG.value.astype(float), LOG.positive.astype(float)):
        answers = [(int(LOG.user[k]), int(LOG.item[k]), float(given[k])) for k in range(end)]
        fitted = (
            factor_oracle.fit(answers, len(LOG.users), len(LOG.items))
            if answers
            else factor_oracle.Fitted({}, np.zeros((len(LOG.items), factor_oracle.WIDTH)))
        )
        history = [(int(LOG.item[k]), float(given[k])) for k in past]
        numbers += factor_oracle.expect(fitted, history, item).values()
    together = ease(LOG, end, 300.0)
    return [*numbers, float((weighted_history(LOG, past) @ together)[item])]


def test_a_request_has_the_bits_of_its_rows(versions: Collaborations, rows: TrainingSet) -> None:
    found = numbers_of(rows)
    for row in (3, 120, 299):
        user = rows.take(np.array([row]))
        at = versions.newest(int(LOG.time[row]))
        asked = np.arange(-1, len(LOG.items))
        history = Histories.of(without(user, "item_", "collaborative"), LOG.items)
        request = at.users(history).numbers(0, asked)
        item = 1 + int(LOG.item[row])
        np.testing.assert_array_equal([column[item] for column in request.values()], found[row])
        unknown = {name for name, column in request.items() if np.isnan(column[0])}
        assert len(unknown) == len(NAMES) - 2, "all but the biases of the user"


def test_without_any_item_nothing_is_said(versions: Collaborations) -> None:
    nothing = sp.csr_matrix((0, 0), dtype=np.float32)
    others = Collaboration(IdMap.of([]), FactorVersion.empty(0), nothing)
    history = Histories.of(rows_of(LOG).take(np.array([299])), others.items)
    found = others.users(history).numbers(0, np.array([-1, -1]))
    assert list(found) == list(COLUMNS)
    assert all(np.isnan(column).all() and len(column) == 2 for column in found.values())


def test_answers_after_a_row_leave_every_number_before_it(
    rows: TrainingSet, tmp_path: Path
) -> None:
    last = 200
    rng = np.random.default_rng(1)
    positive, value = LOG.positive.copy(), LOG.value.copy()
    positive[last:], value[last:] = rng.random(100) < 0.5, rng.normal(size=100)
    changed = replace(LOG, positive=positive, value=value)
    again = numbers_of(versions_of(changed, tmp_path / "home").add_to(rows_of(changed)))
    before = LOG.time <= LOG.time[last]
    np.testing.assert_array_equal(again[before], numbers_of(rows)[before])
    assert (again[~before] != numbers_of(rows)[~before]).any()


def test_rows_without_recent_events_of_users_stay_as_they_are(versions: Collaborations) -> None:
    bare = without(rows_of(LOG), "user_recent")
    assert versions.add_to(bare) is bare
    none = rows_of(LOG).take(np.zeros(0, np.int64))
    assert len(versions.add_to(none)) == 0
