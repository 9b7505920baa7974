"""`feast-fusion --version`: of the program, of Feast, and of the model that answers."""

import os
from importlib.metadata import version
from pathlib import Path

import click


def print_version(context: click.Context, _: click.Parameter, is_given: bool) -> None:
    """Callback of the option: print them in a line each, and end."""
    if not is_given or context.resilient_parsing:
        return
    click.echo(f"feast-fusion {version('feast-fusion')}")
    click.echo(f"Feast {version('feast')}")
    click.echo(_model())
    context.exit()


def _model() -> str:
    """Of the data set that a command without options would work on."""
    from cli.workspace_options import default_home, find_workspace
    from feast_fusion.errors import FeastFusionError
    from training.promotions import Promotions

    dataset, given = (os.environ.get(name) for name in ("FUSION_DATASET", "FUSION_HOME"))
    home = Path(given) if given else default_home()
    if not home.is_dir():  # asking for a version makes nothing
        return "no model is promoted"
    try:
        workspace = find_workspace(Path(dataset) if dataset else None, home)
        if not workspace.promoted.is_file():
            return f"no model of {workspace.dataset.name} is promoted"
        return f"model {Promotions(workspace).read().main} of {workspace.dataset.name}"
    except FeastFusionError as error:
        return f"model unknown: {error}"
