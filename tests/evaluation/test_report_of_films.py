"""The real command on a real data set: its file of ranks gives its figures."""

import json
from pathlib import Path

import polars as pl
import pytest

from tests.conftest import Project
from tests.oracles.next_positive import check_ranks


@pytest.fixture(scope="module")
def written(films: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    names = {
        "json": "report.json",
        "html": "page.html",
        "markdown": "report.md",
        "ranks": "r.parquet",
    }
    films.here(
        "evaluate",
        *(each for name, file in names.items() for each in (f"--{name}", str(folder / file))),
    )
    return folder


def test_ranks_recomputed_from_the_files_give_the_figures(films: Project, written: Path) -> None:
    found = check_ranks(written / "r.parquet", films.workspace.sources)
    report = json.loads((written / "report.json").read_text())
    first = report["next_positive"][0]
    contender = first["contenders"][0]
    assert contender["ndcg"]["mean"] == pytest.approx(found["ndcg@10"])
    assert contender["hit_rate"]["mean"] == pytest.approx(found["hr@10"])
    assert contender["reciprocal_rank"]["mean"] == pytest.approx(found["mrr"])
    assert contender["distinct"] == found["distinct"]
    assert first["n_queries"] == len(pl.read_parquet(written / "r.parquet")) > 20


def test_its_pointwise_figures_are_those_of_the_run(films: Project, written: Path) -> None:
    measured = json.loads((written / "report.json").read_text())["pointwise"]["metrics"]
    told = json.loads(films.workspace.summary.read_text())
    assert round(measured["ranker"]["auc"], 4) == told["test_auc"]
    assert round(measured["popularity"]["auc"], 4) == told["popularity_auc"]


@pytest.mark.parametrize("mistake", ["seen", "unranked", "shifted"])
def test_a_broken_file_of_ranks_is_caught(films: Project, written: Path, mistake: str) -> None:
    ranks = pl.read_parquet(written / "r.parquet")
    row = ranks.row(-1, named=True)
    if mistake == "seen":
        log = pl.read_parquet(films.workspace.source("interactions"))
        before = log.filter(
            (pl.col("user_id") == row["user_id"])
            & (pl.col("event_timestamp") < row["event_timestamp"])
        )
        row["top10"] = [before["item_id"][0], *row["top10"][1:]]
    elif mistake == "unranked":
        row["item_id"] = "nobody had it"
    else:
        row["rank"] = 1 if row["rank"] != 1 else 2
    broken = pl.concat([ranks.head(-1), pl.DataFrame([row], schema=ranks.schema)])
    path = written / f"{mistake}.parquet"
    broken.write_parquet(path)
    with pytest.raises(AssertionError):
        check_ranks(path, films.workspace.sources)


def test_the_page_and_the_markdown_say_the_same(written: Path) -> None:
    page, text = ((written / name).read_text() for name in ("page.html", "report.md"))
    report = json.loads((written / "report.json").read_text())
    figure = f"{report['next_positive'][0]['contenders'][0]['ndcg']['mean']:.3f}".lstrip("0")
    assert figure in page
    assert figure in text
