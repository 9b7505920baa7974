"""`feast-fusion audit`: whether what was built may be trusted."""

import json
import sys
from pathlib import Path

import click

from cli.context import with_workspace
from cli.feast_repository import open_store
from cli.skew import skew
from cli.terminal import say
from feast_fusion.feature_service import open_service
from feast_fusion.training_set import TrainingSet
from intake.workspace import Workspace
from transformations.names import SERVICE


@click.group(invoke_without_command=True)
@click.pass_context
def audit(context: click.Context) -> None:
    """Check what was built, or served, against its sources. Without a command: leakage."""
    if context.invoked_subcommand is None:
        with leakage.make_context("leakage", [], parent=context) as inner:
            leakage.invoke(inner)


audit.add_command(skew)


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
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@with_workspace
def leakage(
    workspace: Workspace,
    folder: Path | None,
    service: str,
    rows: int,
    seed: int,
    suspicious_auc: float,
    as_json: bool,
) -> None:
    """Recompute the features of a training set and report what a label could not have known.

    DIR is a saved training set (default: the workspace's). Every feature of each chosen row is
    looked up in the service's sources by a slow loop that shares no code with the offline store.
    The exit code is 1 when anything is found.
    """
    from training.audit.leakage import audit_training_set  # seconds to import

    store = open_store(workspace)
    report = audit_training_set(
        TrainingSet.open(folder or workspace.training_set),
        store,
        open_service(store, service),
        n_rows=rows,
        seed=seed,
        suspicious_auc=suspicious_auc,
    )
    if as_json:
        click.echo(json.dumps(report.to_dict()))
    else:
        say(*report.lines())
    if not report.is_clean:
        sys.exit(1)
