"""`feast-fusion train`: from examples to a version of the model."""

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import click

from cli.beside import beside
from cli.feast_repository import open_store, require_run
from cli.terminal import result, say, then
from cli.training_report import TrainingReport, processes_of_torchrun, training_report
from cli.workspace_options import with_workspace
from feast_fusion.errors import FeatureNotFoundError
from feast_fusion.training_set_store import fetch
from intake.changed_settings import change_settings
from intake.workspace import Workspace
from transformations.names import ranker_service

if TYPE_CHECKING:
    from feast import FeatureService

    from feast_fusion.training_set import TrainingSet
    from training.checkpoint import Checkpoints
    from training.next_item.fitting import Epoch
    from training.next_item.model import NextItemModel
    from training.processes import Processes
    from training.ranker.artifact import Artifact

# With fewer rows a process of its own costs more time than it saves.
_BESIDE_FROM = 20_000


@click.command()
@click.option("--seed", default=0, show_default=True, help="Same seed, same model (on a CPU).")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Another value of a setting, such as ranker.fusion=gated. Repeatable.",
)
@click.option(
    "--training-set",
    "place",
    metavar="s3://...",
    help="Fetched into the workspace unless it is there. Default: the one in the workspace.",
)
@click.option("--promote", is_flag=True, help="Let it answer all users at once.")
@with_workspace
def train(
    workspace: Workspace, seed: int, changes: tuple[str, ...], place: str | None, promote: bool
) -> None:
    """Fit the fusion ranker to the training set and keep it as a version of the model.

    The first version answers at once, a later one when it is promoted (feast-fusion models).

    Settings come from [ranker] and [candidates] of dataset.toml. A run that was killed goes on
    after its last epoch. Several processes fit one model together under torchrun:

    \b
    torchrun --nproc-per-node 2 .venv/bin/feast-fusion train
    """
    require_run(workspace)
    dataset = change_settings(workspace.dataset, changes)
    changed = replace(workspace, dataset=dataset)
    if place is not None:
        fetch(place, workspace.training_set)
    with processes_of_torchrun() as processes:
        version = train_version(changed, open_training_set(workspace), seed, processes)
    if version is not None:
        is_served = promote_trained(workspace, version, always=promote)
        does = "answers now" if is_served else f"feast-fusion models promote {version} serves it"
        result(version=version, answers=is_served)
        then(f"Model {version}: {does}. Next: feast-fusion evaluate.")


def open_training_set(workspace: Workspace, candidate: str | None = None) -> "TrainingSet":
    """The training set last built, on vectors of a candidate if its encoder id is given.

    Raises
    ------
    FeatureNotFoundError
        None was built.
    """
    folder = workspace.training_set_of(candidate)
    if not folder.is_dir():
        how = "training-set" if candidate is None else "rehearse --encoder"
        raise FeatureNotFoundError(
            f"{folder}: got no such folder, expected a training set. Run feast-fusion {how} first."
        )
    from feast_fusion.training_set import TrainingSet  # half a second to import

    return TrainingSet.open(folder)


def trained_version(
    workspace: Workspace, training_set: "TrainingSet", candidate: str | None = None
) -> str:
    """The version of this training set, these settings and this code; fitted unless it is there.

    candidate : its encoder id, where the training set is on its vectors
    """
    from training.model_versions import ModelVersions
    from training.provenance import digest_training

    version = ModelVersions(workspace).fitted_with(digest_training(workspace, 0, candidate))
    if version is None:
        version = train_version(workspace, training_set, candidate=candidate)
        assert version is not None  # there is one process
    else:
        say(f"Unchanged since model {version} was trained: it is kept.")
    return version


def promote_trained(workspace: Workspace, version: str, *, always: bool) -> bool:
    """Whether a version answers now: always, or where nothing else does; old ones are removed."""
    from training.model_versions import ModelVersions
    from training.promotions import Promotions
    from training.shared_models import SharedModels

    if (shared := SharedModels.of(workspace)) is not None:
        shared.push(version)
    promotions = Promotions(workspace)
    promotions.follow()
    in_use = promotions.names()
    if version not in in_use and (always or not in_use):
        in_use = promotions.promote(version).names
    ModelVersions(workspace).prune({*in_use, version})
    return version in in_use


def train_version(
    workspace: Workspace,
    training_set: "TrainingSet",
    seed: int = 0,
    processes: "Processes | None" = None,
    candidate: str | None = None,
) -> str | None:
    """Both artifacts of a new version, fitted and saved; its name in the first process.

    The first process fits the next-item model, beside the ranker where there are many rows. A
    training that was killed goes on after its last epoch. `candidate` is as in `trained_version`.
    """
    from feast_fusion.feature_service import encoder_of, open_service
    from training.checkpoint import Checkpoints
    from training.model_versions import ModelVersions
    from training.processes import ALONE
    from training.provenance import digest_training

    processes, store = processes or ALONE, open_store(workspace)
    service = open_service(store, ranker_service(candidate))
    fingerprint = digest_training(workspace, seed, candidate)
    checkpoints = Checkpoints(workspace.checkpoints, fingerprint)
    rankers = partial(_fit_rankers, workspace, training_set, service, seed, processes, checkpoints)
    if not processes.is_first:
        rankers(None)
        return None
    with ExitStack() as stack:
        opened = training_report(workspace, service, encoder_of(service), seed)
        told = stack.enter_context(opened)
        next_item: Callable[[Callable[[Epoch], None]], tuple[NextItemModel, NextItemModel]]
        if len(training_set) < _BESIDE_FROM:
            next_item = partial(_fit_next_item, workspace, service.name, seed, checkpoints)
        else:
            beginning = beside(_fit_next_item, workspace, service.name, seed, checkpoints)
            next_item = stack.enter_context(beginning)
        before, served = rankers(told)
        with told.of_next_item() as report:
            next_before, next_served = next_item(report)
    before = replace(before, next_item=next_before)
    served = replace(served, next_item=next_served)
    version = ModelVersions(workspace).add(served, before, fingerprint)
    checkpoints.remove()
    return version


def _fit_next_item(
    workspace: Workspace,
    service: str,
    seed: int,
    checkpoints: "Checkpoints",
    report: "Callable[[Epoch], None]",
) -> "tuple[NextItemModel, NextItemModel]":
    from training.next_item.fitting import fit_next_item

    store = open_store(workspace)
    return fit_next_item(
        workspace, store, seed, service=service, checkpoints=checkpoints, report=report
    )


def _fit_rankers(
    workspace: Workspace,
    training_set: "TrainingSet",
    service: "FeatureService",
    seed: int,
    processes: "Processes",
    checkpoints: "Checkpoints",
    told: "TrainingReport | None",
) -> "tuple[Artifact, Artifact]":
    """The ranker fitted to the rows before the test rows, and to all rows; says how it went.

    How many epochs, and the calibration, are chosen on the validation rows.
    """
    from feast_fusion.feature_service import encoder_of
    from training.split import split_rows
    from training.trainer import refit, train

    with told.of_ranker() if told else nullcontext() as report:
        result = train(
            training_set,
            workspace.dataset,
            workspace.dataset.ranker,
            seed=seed,
            encoder_id=encoder_of(service),
            service=service.name,
            processes=processes,
            checkpoint=checkpoints.of("ranker"),
            report=report,
        )
    split = split_rows(training_set.table, workspace.dataset.split)
    before, served = (
        refit(result, training_set, rows, workspace.dataset, seed=seed, processes=processes)
        for rows in (split.past, split.all)
    )
    if told:
        say(f"Trained: {result.summary()}")
    return before, served
