"""`make soak`: half an hour of clients and faults, on a copy of the demo's workspace.

Nothing here is a test of pytest: it prints its counts, and ends with 1 where something was wrong.
"""

import os
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import click
import polars as pl

from benchmarks.demo import measured_workspace
from cli.feast_repository import feast, open_store
from cli.redis import redis_of
from intake.workspace import Workspace
from serving.full_refresh import rewrite_online
from tests.soak.clients import Client, Shop, acting
from tests.soak.faults import Faults
from tests.soak.fleet import fleet
from tests.soak.record import Record
from tests.soak.verdict import judge_answers, judge_journal, judge_rows
from transformations.names import INTERACTIONS, ITEMS


@click.command()
@click.option("--minutes", default=30.0, show_default=True)
@click.option("--clients", "n_clients", default=200, show_default=True)
@click.option("--services", "n_services", default=2, show_default=True)
@click.option("--pause", default=4.0, show_default=True, help="Of a client, mean seconds.")
@click.option("--fault-every", default=(10.0, 40.0), nargs=2, show_default=True)
@click.option("--seed", default=0, show_default=True)
def soak(
    minutes: float,
    n_clients: int,
    n_services: int,
    pause: float,
    fault_every: tuple[float, float],
    seed: int,
) -> None:
    """Clients and faults for some minutes; then what is online must be what a replay gives."""
    os.environ.pop("REDIS_URL", None)  # only the embedded one may be killed
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    workspace = _copy(measured_workspace(), folder / "home")
    events = pl.read_parquet(workspace.source(INTERACTIONS), columns=["user_id", "item_id"])
    acted = events.group_by("user_id").agg(pl.col("item_id")).iter_rows()
    record = Record({user: set(items) for user, items in acted})
    items = pl.read_parquet(workspace.source(ITEMS), columns=["item_id"])["item_id"]
    shop = Shop(events["user_id"].unique().sort().to_list(), items.unique().sort().to_list())
    click.echo(
        f"{minutes:g} minutes, {n_clients} clients, {n_services} services, seed {seed}: {folder}"
    )
    with redis_of(workspace) as redis:
        _fill(workspace, redis)
        with fleet(workspace, n_services, folder) as services:
            faults = Faults(workspace, services, record, seed)
            faults.wait_until_ready()
            faults.save_redis()
            clients = [Client(shop, services, record, seed + i) for i in range(n_clients)]
            with acting(clients, pause):
                faults.happen(time.monotonic() + minutes * 60, fault_every)
            faults.wait_until_ready()
            judge_answers(services, record, shop.users)
        judge_journal(workspace, record)
        judge_rows(workspace, redis, record, folder / "replay")
    click.echo("\n".join(record.lines(faults.lines())))
    if record.wrong:
        sys.exit(1)
    shutil.rmtree(folder)


def _copy(workspace: Workspace, home: Path) -> Workspace:
    """A home of its own, since these events never happened."""
    copy = Workspace(workspace.dataset, home)
    shutil.copytree(workspace.vectors, copy.vectors)
    for part in (workspace.sources, workspace.sinks, workspace.models):
        shutil.copytree(part, copy.root / part.name)
    return copy


def _fill(workspace: Workspace, redis: str) -> None:
    """The newest rows online, without the minutes of `feast materialize`."""
    feast(workspace, redis, "apply")
    rewrite_online(open_store(workspace, redis), datetime.now(UTC))


if __name__ == "__main__":
    soak()
