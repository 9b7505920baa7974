"""`feast-fusion evaluate`: how good the recommender is, as one document, page and file of ranks."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.candidate_encoder import beside_main
from cli.feast_repository import open_store, require_run
from cli.ranker import open_training_set
from cli.terminal import progress_bar, say, then
from cli.workspace_options import with_workspace
from feast_fusion.files import replaced_file
from feast_fusion.parquet.seal import write_parquet
from intake.workspace import Workspace

if TYPE_CHECKING:
    from evaluation.report.document import Report

_File = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.option("--all", "everything", is_flag=True, help="Also baselines, cold items, queries.")
@click.option("--ablations", is_flag=True, help="Also ablations, learning curves, text: 40 fits.")
@click.option("--json", "json_path", type=_File, help="Write all figures to this file.")
@click.option("--html", "html_path", type=_File, help="Write the report as one page.")
@click.option("--markdown", "markdown_path", type=_File, help="Write the report as Markdown.")
@click.option("--ranks", "ranks_path", type=_File, help="Write a Parquet row per test positive.")
@click.option("--seed", default=0, show_default=True, help="Of the drawn queries and the models.")
@click.option("--model", metavar="VERSION", help="Default: the version trained last.")
@with_workspace
def evaluate(
    workspace: Workspace,
    everything: bool,
    ablations: bool,
    json_path: Path | None,
    html_path: Path | None,
    markdown_path: Path | None,
    ranks_path: Path | None,
    seed: int,
    model: str | None,
) -> None:
    """Measure the recommender on the last 10 % of the events, beside what it has to beat.

    \b
    next positive   where the item that a user chose stands among all items known then
    pointwise       whether the ranker tells liked from not liked among the items that users met

    Models are fitted to what came before. The file of ranks lets anyone check the first protocol:
    user_id, item_id, event_timestamp, rank, n_ranked and top10.
    """
    from evaluation.survey import Survey  # seconds to import
    from training.model_versions import ModelVersions

    require_run(workspace)
    versions = ModelVersions(workspace)
    version = versions.newest() if model is None else versions.find(model)
    with progress_bar("Evaluating") as advance:
        report, ranks = Survey(
            workspace,
            open_store(workspace),
            open_training_set(workspace, beside_main(workspace, version.encoder_id)),
            versions.load_before_test(version.name),
            everything,
            ablations,
            seed,
            advance,
        ).measure()
    say(*report_lines(report))
    _write(report, json_path, html_path, markdown_path)
    if ranks_path is not None:
        with replaced_file(ranks_path) as building:
            write_parquet(building, ranks)
        say(f"Written: {ranks_path}")
    then("Next: feast-fusion recommend USER.")


def _write(report: "Report", json: Path | None, html: Path | None, markdown: Path | None) -> None:
    from evaluation.report.markdown import render_markdown
    from evaluation.report.page import render_page

    if json is not None:
        report.write(json)
    for path, render in ((html, render_page), (markdown, render_markdown)):
        if path is not None:
            with replaced_file(path) as building:
                building.write_text(render(report), encoding="utf-8")
    say(*(f"Written: {path}" for path in (json, html, markdown) if path is not None))


def report_lines(report: "Report") -> Iterator[str]:
    """For people: one table a protocol, one line a contender."""
    from evaluation.pointwise import pointwise_lines

    for found in report.next_positive:
        repeats = ", repeats allowed" if found.repeats else ""
        yield f"{found.n_queries:,} choices of the {found.part} part{repeats}"
        yield f"{'':24}{'ndcg@10':>12}{'hr@10':>12}{'mrr':>12}{'recall@500':>12}"
        for each in found.contenders:
            values = (each.ndcg.mean, each.hit_rate.mean, each.reciprocal_rank.mean)
            cells = [*values, each.recall.get(500)]
            yield f"{each.name:24}" + "".join(f"{value or 0:>12.4f}" for value in cells)
        yield ""
    if report.pointwise is not None:
        yield from pointwise_lines(report.pointwise)
