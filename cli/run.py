"""`feast-fusion run` and `demo`: the main job from files to recommendations, every step real.

The job is loaded only once the data set is: what is wrong with dataset.toml is said at once.
"""

import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import click

from cli.step import announce
from cli.terminal import result, say, then
from cli.workspace_options import example_dataset, with_workspace
from feast_fusion.errors import FeastFusionError
from intake.workspace import Workspace


@click.command()
@with_workspace
def run(workspace: Workspace) -> None:
    """Go the whole way on a data set.

    \b
    prepare       files -> point-in-time sources
    apply         declarations -> registry
    materialize   texts -> vectors, attributes; history -> sinks, newest -> Redis
    training-set  labels -> features as they were, and an audit of that
    train         -> fusion ranker (skipped when training set, settings and code are unchanged)
    evaluate      -> metrics on the test part, by default the last 10 % of the events
    recommend     -> top 10 from Redis

    Every step can be repeated: what is done is not done again. Numbers go to summary.json, and a
    page with what was found to report.html.
    """
    from cli.main_job import run_all

    result(**asdict(run_all(workspace)), report=workspace.report)
    then("Next: feast-fusion recommend USER")
    say(f"Report: {workspace.report}")


@click.command()
@with_workspace
def demo(workspace: Workspace) -> None:
    """Prepare MovieLens-100k and run everything on it."""
    from cli.main_job import run_all

    dataset = workspace.dataset
    has_files = all(Path(str(s.path)).is_file() for s in (dataset.items, dataset.interactions))
    if dataset.path == example_dataset(workspace.home) and not has_files:
        announce("MovieLens-100k")
        _prepare_example(workspace)
    result(**asdict(run_all(workspace)), report=workspace.report)
    then("Next: feast-fusion recommend 100, or feast-fusion init FILES for your own data.")
    say(f"Report: {workspace.report}")


def _prepare_example(workspace: Workspace) -> None:
    script = workspace.dataset.path.with_name("prepare.py")
    variables = os.environ | {"FUSION_HOME": str(workspace.home)}
    command = [sys.executable, str(script)]
    done = subprocess.run(command, env=variables, stdout=subprocess.PIPE, text=True, check=False)
    say(*done.stdout.splitlines())
    if done.returncode:
        raise FeastFusionError(
            f"{script}: got exit code {done.returncode}, expected 0. See its message above."
        )
