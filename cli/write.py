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

_FIRST = 8  # texts by which the cost of all is estimated


@click.command()
@with_workspace
def write(workspace: Workspace) -> None:
    """Write the attributes that [writer] names, of all items.

    Says what it will cost after the first few texts. What is written is kept: an interrupted run
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
    new, before = writer.new_texts(items), writer.cost
    if not new:
        say(f"Attributes: all written before ({before}).")
    else:
        if not before.n_calls:
            writer.write_texts(new[:_FIRST])
        say(f"Attributes of {len(new):,} texts, estimated: {writer.cost.of(len(new))}.")
    with progress_bar("Writing") as advance:
        answers = writer.write(items, lambda done, total: advance("attributes", done, total))
    spent = writer.cost - before
    if new:
        say(f"Written: {spent}.")
    rejected = [reject for answer in answers for reject in answer.rejects]
    if rejected:
        say(f"Rejected {len(rejected):,} attributes of {len(answers):,} items: {rejected[0]}.")


def _prepared_items(workspace: Workspace) -> "pa.Table":
    import pyarrow.parquet as pq

    path = workspace.source(ITEMS)
    if not path.is_file():
        raise FeatureNotFoundError(
            f"{path}: got no such file, expected the prepared items. Run feast-fusion prepare."
        )
    return pq.read_table(path)
