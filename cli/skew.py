"""`feast-fusion audit skew`: whether what was served is what training would have had."""

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from cli.context import with_workspace
from cli.data import prepare_sources
from cli.feast_repository import feast, open_store
from cli.redis import redis_of
from cli.terminal import say
from feast_fusion.errors import FeatureNotFoundError
from feast_fusion.feature_service import open_service
from intake.event import Event
from intake.journal import read_events
from intake.workspace import Workspace
from transformations.names import SERVICE

if TYPE_CHECKING:
    from feast import FeatureStore

    from training.audit.skew_report import SkewReport

# What the service keeps at the newest event; the other views wait for feast materialize.
_LIVE_VIEWS = ("item_stats", "user_stats", "user_recent", "user_interest")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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

    The rows are those that the service logged (a share of its requests). With --fold it first runs
    what `prepare` and `feast materialize` do, from the oldest live event on. A row that was behind,
    because an event had not been applied yet, is compared with the version that was served.
    The exit code is 1 when anything is missing, extra or different.
    """
    folded_at = fold_events(workspace) if fold else None
    report = audit_log(workspace, open_store(workspace), service, limit, folded_at)
    if as_json:
        click.echo(json.dumps(report.to_dict()))
    else:
        for line in report.lines():
            say(line)
    if not report.is_clean:
        sys.exit(1)


def fold_events(workspace: Workspace) -> datetime:
    """Live events into the offline sources and sinks; those of before the result are there."""
    began = datetime.now(UTC)
    events = read_events(workspace.events)
    if events:
        prepare_sources(workspace)
        # Not incremental: an event may come late, before what was materialized last.
        start = _EPOCH + timedelta(microseconds=min(e.time for e in events)) - timedelta(days=1)
        with redis_of(workspace) as redis:
            feast(workspace, redis, "materialize", _utc(start), _utc(datetime.now(UTC)))
    return began


def audit_log(
    workspace: Workspace,
    store: "FeatureStore",
    service: str,
    limit: int,
    folded_at: datetime | None,
) -> "SkewReport":
    """The audit of the newest rows of a workspace's log, of before `folded_at`.

    Raises
    ------
    FeatureNotFoundError
        Nothing was logged.
    """
    from serving.served_rows import read_served
    from training.audit.skew_audit import audit_served, logged_columns

    feature_service = open_service(store, service)
    columns = logged_columns(feature_service)
    served = read_served(workspace.served, columns, limit, folded_at)
    if not len(served.table):
        raise FeatureNotFoundError(
            f"{workspace.served}: got no rows that feature service {service!r} served "
            f"({served.n_other:,} of other versions), expected some. Serve with a share of the "
            "requests logged, then audit."
        )
    events: list[Event] = read_events(workspace.events)
    return audit_served(
        served.table,
        store,
        feature_service,
        events,
        n_other=served.n_other,
        folded_at=folded_at,
        batch_views=[
            projection.name
            for projection in feature_service.feature_view_projections
            if projection.name.partition("__")[0] not in _LIVE_VIEWS
        ],
    )


def _utc(instant: datetime) -> str:
    """As Feast's command takes it, to the microsecond: the last event counts too."""
    return instant.replace(tzinfo=None).isoformat(timespec="microseconds")
