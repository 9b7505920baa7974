"""`feast-fusion write`: attributes of items by the data set's language model, ahead of Feast."""

from typing import TYPE_CHECKING

import click

from cli.terminal import progress_bar, say, then
from cli.workspace_options import with_workspace
from feast_fusion.errors import FeatureNotFoundError, schema_error
from intake.workspace import Workspace
from transformations.names import ITEMS

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_fusion.writing.answer import Answer
    from transformations.writing import ItemWriter


@click.command()
@with_workspace
def write(workspace: Workspace) -> None:
    """Write the attributes that [writer] names, of all items.

    Says what all will cost after the first of them. What is written is kept: an interrupted run
    goes on where it was, and a text is never asked about twice.
    """
    if workspace.dataset.writer is None:
        raise schema_error(
            f"{workspace.dataset.path}",
            got="no [writer]",
            expected="a language model that writes attributes",
            remedy="Add the section; docs/dataset_keys.md has its keys.",
        )
    write_items(workspace)
    then("Next: feast-fusion run (everything), or feast apply and feast materialize.")


def write_items(workspace: Workspace) -> None:
    """Ask about every prepared item that is new to the writer; say the estimate and the cost."""
    from transformations.writing import ItemWriter

    writer = ItemWriter(workspace)
    items = _prepared_items(workspace)
    before, n_new = writer.cost, len(writer.new_texts(items))
    answers = _write_new(writer, items, n_new) if n_new else writer.write(items)
    if n_new:
        say(f"Attributes written: {writer.cost - before}.")
    else:
        say(f"Attributes: all written before ({before}).")
    rejected = [reject for answer in answers for reject in answer.rejects]
    if rejected:
        say(f"Rejected {len(rejected):,} attributes of {len(answers):,} items: {rejected[0]}.")


def _write_new(writer: "ItemWriter", items: "pa.Table", n_new: int) -> "list[Answer]":
    """The answers, with a bar and, as soon as anything is known of it, what all will cost."""
    is_estimated = False

    def estimate() -> None:
        nonlocal is_estimated
        known = writer.cost
        if known.n_calls:
            say(f"Attributes of {n_new:,} texts, estimated: {known.of(n_new)}.")
            is_estimated = True

    estimate()
    with progress_bar("Writing") as advance:

        def report(done: int, total: int) -> None:
            if not is_estimated:
                estimate()
            advance("attributes", done, total)

        return writer.write(items, report)


def _prepared_items(workspace: Workspace) -> "pa.Table":
    import pyarrow.parquet as pq

    path = workspace.source(ITEMS)
    if not path.is_file():
        raise FeatureNotFoundError(
            f"{path}: got no such file, expected the prepared items. Run feast-fusion prepare."
        )
    return pq.read_table(path)
