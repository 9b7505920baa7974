"""`feast-fusion write`: what the language model says of items and users, ahead of Feast."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from cli.terminal import progress_bar, result, say, then
from cli.workspace_options import with_workspace
from feast_fusion.errors import FeatureNotFoundError, schema_error
from intake.preparation import require_unchanged_sources
from intake.workspace import Workspace
from transformations.names import ITEMS, USER_SNAPSHOTS

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_fusion.writing.answer import Answer
    from feast_fusion.writing.cost import Cost
    from transformations.writing import RowWriter

_LONG_S = 60.0


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask before a run of more than a minute.")
@with_workspace
def write(workspace: Workspace, /, yes: bool) -> None:
    """Write what [writer] names: attributes of items, portraits of users.

    Says what all will cost after the first of them, and at a terminal asks before a long run. What
    is written is kept: an interrupted run goes on where it was, and a text is never asked about
    twice.
    """
    if workspace.dataset.writer is None:
        raise schema_error(
            f"{workspace.dataset.path}",
            got="no [writer]",
            expected="a language model that writes",
            remedy="Add the section; docs/dataset_keys.md has its keys.",
        )
    require_unchanged_sources(workspace)
    costs = write_all(workspace, is_asked=not yes)
    result(**{what: asdict(cost) for what, cost in costs.items()})
    then("Next: feast-fusion run (everything), or feast apply and feast materialize.")


def write_all(workspace: Workspace, *, is_asked: bool = True) -> "dict[str, Cost]":
    """Ask about every prepared row that is new to the writer; what that cost, by what is written.

    Parameters
    ----------
    is_asked : whether somebody at a terminal is asked before a long run

    Raises
    ------
    click.Abort
        The answer was no; what was written until then is kept.
    """
    from transformations.writing import item_writer, user_writer

    writer, costs = workspace.dataset.writer, dict[str, "Cost"]()
    if writer is not None and writer.attributes:
        items = _prepared(workspace, ITEMS)
        costs["attributes"] = _write("Attributes", item_writer(workspace), items, is_asked)
    if writer is not None and writer.user is not None:
        snapshots = _prepared(workspace, USER_SNAPSHOTS)
        costs["portraits"] = _write("Portraits", user_writer(workspace), snapshots, is_asked)
    return costs


def _write(what: str, writer: "RowWriter", rows: "pa.Table", is_asked: bool) -> "Cost":
    before, n_new = writer.cost, len(writer.new_texts(rows))
    answers = _write_new(what, writer, rows, n_new, is_asked) if n_new else writer.write(rows)
    if n_new:
        say(f"{what} written: {writer.cost - before}.")
    else:
        say(f"{what}: all written before ({before}).")
    rejected = [reject for answer in answers for reject in answer.rejects]
    if rejected:
        say(f"Rejected {len(rejected):,} values of {len(answers):,} rows: {rejected[0]}.")
    return writer.cost - before


def _write_new(
    what: str, writer: "RowWriter", rows: "pa.Table", n_new: int, is_asked: bool
) -> "list[Answer]":
    """The answers, with a bar and, as soon as anything is known of it, what all will cost."""
    is_estimated = False

    def estimate(n: int) -> None:
        nonlocal is_estimated
        known = writer.cost
        if known.n_calls and not is_estimated:
            is_estimated = True
            cost = known.of(n)
            say(f"{what} of {n:,} texts, estimated: {cost}.")
            if is_asked and cost.seconds > _LONG_S and sys.stdin.isatty():
                click.confirm("Write them?", default=True, abort=True, err=True)

    estimate(n_new)
    with progress_bar("Writing") as advance:

        def report(done: int, total: int) -> None:
            estimate(total)
            advance(what.lower(), done, total)

        return writer.write(rows, report)


def _prepared(workspace: Workspace, name: str) -> "pa.Table":
    from feast_fusion.parquet.whole import read_parquet

    path = workspace.source(name)
    if not path.is_file():
        raise FeatureNotFoundError(
            f"{path}: got no such file, expected the prepared {name}. Run feast-fusion prepare."
        )
    return read_parquet(path)
