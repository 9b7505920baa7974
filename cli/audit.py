"""`feast-fusion audit`: whether what was built, and what is served, may be trusted."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from cli.feast_repository import feast, feast_time, open_store, require_run
from cli.redis import redis_of, require_redis
from cli.terminal import report_and_exit
from cli.workspace_options import with_workspace
from intake.workspace import Workspace
from transformations.names import SERVICE


@click.group(invoke_without_command=True)
@click.pass_context
def audit(context: click.Context) -> None:
    """Check what was built, or served, against its sources. Without a command: leakage."""
    if context.invoked_subcommand is None:
        with leakage.make_context("leakage", [], parent=context) as inner:
            leakage.invoke(inner)


@audit.command()
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option("--service", default=SERVICE, show_default=True, help="What it was built for.")
@click.option(
    "--rows",
    default=2000,
    show_default=True,
    type=click.IntRange(0),
    help="How many random rows to recompute; 0 for all.",
)
@click.option("--seed", default=0, show_default=True, help="Which random rows.")
@click.option(
    "--suspicious-auc",
    default=0.95,
    show_default=True,
    type=click.FloatRange(0.5, 1),
    help="Report a scalar feature that separates the labels this well by itself.",
)
@with_workspace
def leakage(
    workspace: Workspace,
    folder: Path | None,
    service: str,
    rows: int,
    seed: int,
    suspicious_auc: float,
) -> None:
    """Recompute the features of a training set and report what a label could not have known.

    DIR is a saved training set (default: the workspace's). Every feature of each chosen row is
    looked up in the service's sources by a slow loop that shares no code with the offline store.
    The exit code is 1 when anything is found.
    """
    from feast_fusion.feature_service import open_service  # seconds to import
    from feast_fusion.training_set import TrainingSet
    from training.audit.leakage import audit_training_set

    store = open_store(workspace)
    report = audit_training_set(
        TrainingSet.open(folder or workspace.training_set),
        store,
        open_service(store, service),
        n_rows=rows,
        seed=seed,
        suspicious_auc=suspicious_auc,
        how=workspace.dataset.split,
    )
    report_and_exit(report)


@audit.command()
@click.option(
    "--limit",
    default=20_000,
    show_default=True,
    type=click.IntRange(0),
    help="How many of the newest served rows to compare; 0 for all.",
)
@click.option(
    "--fold/--no-fold",
    default=True,
    show_default=True,
    help="First bring the live events into the offline store.",
)
@click.option("--service", default=SERVICE, show_default=True, help="What was served.")
@with_workspace
def skew(workspace: Workspace, limit: int, fold: bool, service: str) -> None:
    """Recompute served features offline, as of the instants they were served at.

    The service logs the served rows of a share of its requests. --fold first runs what `prepare`
    and `feast materialize` do, from the oldest live event on. A served row may have been behind,
    because an event was not applied yet: it is compared with the same version offline. The exit
    code is 1 when anything is missing, extra or different.
    """
    from feast_fusion.feature_service import open_service  # seconds to import
    from training.audit.skew_audit import audit_log

    require_run(workspace)
    folded_at = fold_events(workspace) if fold else None
    store = open_store(workspace)
    report = audit_log(
        workspace, store, open_service(store, service), limit=limit, folded_at=folded_at
    )
    report_and_exit(report)


def fold_events(workspace: Workspace) -> datetime:
    """Bring live events into the offline stores; every event before the result is there."""
    import pyarrow.compute as pc

    from cli.preparing import prepare_sources  # seconds to import
    from intake.journal_content import read_journal

    require_redis()
    began = datetime.now(UTC)
    oldest = pc.min(read_journal(workspace.events)["event_timestamp"]).as_py()
    if oldest is not None:
        prepare_sources(workspace)
        # Not incremental: an event may come late, before what was materialized last.
        start = oldest - timedelta(days=1)
        with redis_of(workspace) as redis:
            feast(workspace, redis, "materialize", feast_time(start), feast_time())
    return began
