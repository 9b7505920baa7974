"""A handful of events: trained and reported without a made-up number, or refused by their count."""

import json
from pathlib import Path

import numpy as np
import pytest

from cli.run_summary import RunSummary, rounded
from evaluation.pointwise import evaluate_ranker, pointwise_lines
from feast_fusion.errors import SchemaError
from intake.model_settings import RankerConfig
from intake.workspace import open_workspace
from tests.datasets import make_films
from tests.training.synthetic import make_dataset, make_training_set
from training.spine import MIN_EVENTS, build_spine, require_events
from training.trainer import train
from transformations.prepared_sources import write_sources


@pytest.mark.parametrize("n_events", [5, MIN_EVENTS - 1, MIN_EVENTS, 20])
def test_too_few_events_are_refused_before_anything_is_encoded(
    tmp_path: Path, n_events: int
) -> None:
    path = make_films(tmp_path / "data", n_users=6, n_items=12, n_events=n_events)
    path.write_text(path.read_text().replace("value >= 4", "value >= 3"))
    workspace = open_workspace(path, tmp_path / "home")
    write_sources(workspace)
    if n_events >= MIN_EVENTS:
        require_events(workspace)
        assert build_spine(workspace).num_rows == n_events
        return
    with pytest.raises(SchemaError, match=f"ratings.parquet: got {n_events} usable events, exp"):
        require_events(workspace)


@pytest.mark.parametrize("n_rows", [MIN_EVENTS, 20])
def test_few_rows_train_and_what_is_not_defined_is_null(tmp_path: Path, n_rows: int) -> None:
    rows = make_training_set().take(np.arange(n_rows))
    config = RankerConfig.model_validate({"epochs": 2, "text_width": 4})
    trained = train(rows, make_dataset(), config, service="s", encoder_id="e")
    assert np.isfinite(trained.artifact.score(rows)).all()
    found = evaluate_ranker(rows, trained.artifact)
    assert f"{n_rows // 10} test rows" in pointwise_lines(found)[0]
    json.loads(found.model_dump_json(), parse_constant=pytest.fail)


def test_a_summary_without_an_auc_is_json_and_says_why(tmp_path: Path) -> None:
    auc = rounded(float("nan"))
    summary = RunSummary(1.0, 2, 3, 4, 5, auc, rounded(0.51239), 6.0, 7)
    summary.write(tmp_path / "summary.json")
    written = json.loads((tmp_path / "summary.json").read_text(), parse_constant=pytest.fail)
    assert (written["test_auc"], written["popularity_auc"]) == (None, 0.5124)
    assert "not defined: the newest tenth of the examples has one label only" in "\n".join(
        summary.lines()
    )
