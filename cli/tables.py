"""`feast-fusion tables`: the files that sinks consist of, fewer and no more than needed."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from cli.feast_repository import open_store
from cli.terminal import result, say
from cli.workspace_options import with_workspace
from intake.workspace import Workspace

if TYPE_CHECKING:
    from feast_fusion.history.history_sink import HistorySink


@click.group()
def tables() -> None:
    """Look after the files that sinks consist of, folders and Iceberg tables alike.

    Each batch of feast materialize adds a file.
    """


@tables.command()
@with_workspace
def compact(workspace: Workspace) -> None:
    """Make few files of many small ones, with the same rows in the same order.

    A service and retrievals go on meanwhile; the old files stay for them until tables expire.
    """
    files = {}
    for view, sink in _sinks(workspace):
        with sink.locked():
            before, after = sink.compact()
        files[view] = {"before": before, "after": after}
        say(f"{view}: {before:,} files, now {after:,}.")
    result(files=files)


@tables.command()
@click.option(
    "--older-than-hours",
    default=24.0,
    show_default=True,
    help="How long a file stays for those who read it; more than the longest job takes.",
)
@with_workspace
def expire(workspace: Workspace, older_than_hours: float) -> None:
    """Remove files that others took the place of, and old snapshots of Iceberg tables."""
    before = datetime.now(UTC) - timedelta(hours=older_than_hours)
    removed = {}
    for view, sink in _sinks(workspace):
        with sink.locked():
            removed[view] = sink.expire(before)
        say(f"{view}: {removed[view]:,} files removed.")
    result(removed=removed)


def _sinks(workspace: Workspace) -> "Iterator[tuple[str, HistorySink]]":
    """The views with a history of their own, and where it is kept."""
    from feast_fusion.history.derivation import derive, is_derived

    store = open_store(workspace)
    for view in store.list_batch_feature_views():
        if is_derived(view) and (sink := derive(view, store.config).sink) is not None:
            yield view.name, sink
