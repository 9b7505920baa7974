"""`feast-fusion audit skew`: whether what was served is what training would have had."""

import json
import sys
from datetime import UTC, datetime, timedelta

import click

from cli.context import with_workspace
from cli.data import prepare_sources
from cli.feast_repository import feast, open_store
from cli.redis import redis_of
from cli.terminal import say
from feast_fusion.feature_service import open_service
from feast_fusion.times import from_micros
from intake.journal import read_events
from intake.workspace import Workspace
from transformations.names import SERVICE


@click.command()
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
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line.")
@with_workspace
def skew(workspace: Workspace, limit: int, fold: bool, service: str, as_json: bool) -> None:
    """Recompute served features offline, as of the instants they were served at.

    The service logs the served rows of a share of its requests. --fold first runs what `prepare`
    and `feast materialize` do, from the oldest live event on. A served row may have been behind,
    because an event was not applied yet: it is compared with the same version offline. The exit
    code is 1 when anything is missing, extra or different.
    """
    from training.audit.skew_audit import audit_log  # seconds to import

    folded_at = fold_events(workspace) if fold else None
    store = open_store(workspace)
    report = audit_log(
        workspace, store, open_service(store, service), limit=limit, folded_at=folded_at
    )
    if as_json:
        click.echo(json.dumps(report.to_dict()))
    else:
        say(*report.lines())
    if not report.is_clean:
        sys.exit(1)


def fold_events(workspace: Workspace) -> datetime:
    """Bring live events into the offline stores; every event before the result is there."""
    began = datetime.now(UTC)
    times = [event.time for event in read_events(workspace.events)]
    if times:
        prepare_sources(workspace)
        # Not incremental: an event may come late, before what was materialized last.
        start = from_micros(min(times)) - timedelta(days=1)
        with redis_of(workspace) as redis:
            feast(workspace, redis, "materialize", _utc(start), _utc(datetime.now(UTC)))
    return began


def _utc(instant: datetime) -> str:
    """As Feast's command takes it, to the microsecond: the last event counts too."""
    return instant.replace(tzinfo=None).isoformat(timespec="microseconds")
