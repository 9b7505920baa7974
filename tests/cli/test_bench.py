"""`feast-fusion bench`: runs the real benchmark on tiny sizes, and says so where there is none."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.bench import bench, run_benchmark
from feast_fusion.errors import FeatureNotFoundError
from tests.conftest import Project

ROOT = Path(__file__).parents[2]
CASE = {"case", "metric", "unit", "ours", "peers", "floor", "ratios"}


def test_training_set_prints_and_writes_every_case(tmp_path: Path) -> None:
    path = tmp_path / "results" / "training-set.json"
    done = CliRunner().invoke(bench, ["training-set", "--quick", "--json", str(path)])
    assert done.exit_code == 0, done.output
    result = json.loads(path.read_text())
    assert result["name"] == "training-set"
    assert all(case.keys() == CASE for case in result["cases"])
    table = [line for line in done.output.splitlines() if "feast_duckdb" in line and "rows" in line]
    assert any("added memory" in line for line in table)
    for case in result["cases"]:
        assert any(line.startswith(case["case"]) for line in done.output.splitlines())


def test_encoder_measures_throughput_and_nearness(tmp_path: Path) -> None:
    path = tmp_path / "encoder.json"
    run_benchmark("encoder", ROOT, path, quick=True)
    result = json.loads(path.read_text())
    by_metric = {case["metric"]: case for case in result["cases"]}
    assert by_metric["throughput"]["ours"] > 0
    assert 0 < by_metric["throughput"]["ratios"]["matrix rate"] < 1
    assert by_metric["lowest cosine to float32"]["ours"] > 0.99


def test_query_encoding_measures_one_query_and_callers(tmp_path: Path) -> None:
    path = tmp_path / "query.json"
    run_benchmark("query-encoding", ROOT, path, quick=True)
    cases = json.loads(path.read_text())["cases"]
    assert [case["case"] for case in cases[:3]] == [
        "one query, short",
        "one query, long",
        "1 caller",
    ]
    assert all(case["ours"] > 0 and case["ratios"] for case in cases)


def test_index_measures_time_recall_and_memory(
    films: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUSION_DATASET", str(films.workspace.dataset.path))
    monkeypatch.setenv("FUSION_HOME", str(films.workspace.home))
    path = tmp_path / "index.json"
    run_benchmark("index", ROOT, path, quick=True)
    found = {(case["case"], case["metric"]): case for case in json.loads(path.read_text())["cases"]}
    assert found["3,000", "recall@100"]["ours"] > 0.9
    assert found["3,000, 0.1% allowed", "recall@100"]["ours"] == 1
    assert found["3,000", "p50"]["ratios"].keys() == {"inverted lists", "compare all"}
    metrics = {metric for _, metric in found}
    assert metrics == {"p50", "recall@100", "build", "files", "own memory"}


def test_without_a_clone_it_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FeatureNotFoundError, match="only there in a clone"):
        run_benchmark("training-set", tmp_path, None, quick=True)


def test_an_unknown_name_is_refused() -> None:
    done = CliRunner().invoke(bench, ["nothing"])
    assert done.exit_code == 2
    assert "training-set" in done.output
