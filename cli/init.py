"""`feast-fusion init`: from files to a dataset.toml, with what was guessed and why."""

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import polars as pl

from cli.rejected_lines import rejected_lines
from cli.terminal import result, say, then
from feast_fusion.errors import FeastFusionError, schema_error
from intake.dataset import Dataset
from intake.dataset_file import load_dataset
from intake.proposal.proposal import propose
from intake.proposal.questions import Question, take_defaults
from intake.proposal.seen_table import look_at
from intake.proposal.toml_text import render_toml
from intake.validation import ValidatedData, validate_dataset

_SHOWN_ROWS = 10
_SHOWN_CHARACTERS = 40


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("dataset.toml"),
    show_default=True,
    help="The file to write; it must not exist.",
)
@click.option("--name", help="Of the data set. Default: asked.")
@click.option("--yes", is_flag=True, help="Take every proposal without a question.")
def init(paths: tuple[Path, ...], out: Path, name: str | None, yes: bool) -> None:
    """Look at files and folders, and propose a dataset.toml.

    What it cannot know it asks; what it guesses it says, with the reason. Then it reads the files
    by the proposal and shows ten events as it understands them.
    """
    if out.exists():
        raise schema_error(
            f"{out}",
            got="a file that is there already",
            expected="a new one",
            remedy="Name another with --out, or move it away.",
        )
    now = datetime.now(UTC)
    tables = look_at(paths, now)
    for table in tables:
        say(f"{table.label}: {len(table.table):,} rows of {', '.join(table.columns)}.")
    folder = out.absolute().parent
    proposal = propose(tables, name, folder, now, take_defaults if yes else _ask)
    folder.mkdir(parents=True, exist_ok=True)
    text = render_toml(proposal)
    out.write_text(text, encoding="utf-8")
    say(f"\n{text}")
    problem = _show(load_dataset(out), now)
    result(file=out, tables=[table.label for table in tables], problem=problem)
    then(f"Next: look at {out}, then feast-fusion run --dataset {out}")


def _ask(question: Question) -> str:
    kind: Any = float if question.is_number else str
    if question.choices:
        kind = click.Choice(list(question.choices))
    return str(click.prompt(question.words, default=question.default, type=kind, err=True))


def _show(dataset: Dataset, now: datetime) -> str | None:
    """Why no event can be used; else ten as they are understood, and what could not be used."""
    with TemporaryDirectory() as folder:
        try:
            data = validate_dataset(dataset, Path(folder), now=now)
        except FeastFusionError as error:
            say(click.style(f"\nThe proposal does not hold yet: {error}", fg="yellow"))
            return str(error)
    say("\nThe first events as they are understood:", *_rows(dataset, data))
    say(*rejected_lines(data.report.rejects, data.report.examples))
    say(*data.report.notes)
    return None


def _rows(dataset: Dataset, data: ValidatedData) -> list[str]:
    title = dataset.items.title
    titles = pl.DataFrame(
        {"item_id": pl.Series(data.items["item_id"]), "title": pl.Series(data.items[title])}
    ).unique("item_id", keep="last")
    events = pl.DataFrame(data.interactions[:_SHOWN_ROWS]).join(
        titles, on="item_id", how="left", maintain_order="left"
    )
    lines = []
    for row in events.iter_rows(named=True):
        liked = "liked" if row["positive"] else "not liked"
        parts = [f"{row['event_timestamp']:%F %T}", row["user_id"], row["item_id"], row["title"]]
        parts += [row[name] for name in ("event_type", "value") if row.get(name) is not None]
        lines.append("  " + " | ".join(str(part)[:_SHOWN_CHARACTERS] for part in [*parts, liked]))
    return lines
