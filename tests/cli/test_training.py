"""Training as a person meets it: settings, records, a kill in the middle, several processes."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from feast_fusion.training_set import TrainingSet
from intake.changed_settings import change_settings
from tests.conftest import Project
from tests.serving.http.service_process import copy_project
from tests.trained import served
from tests.training.test_tracking import scalars, texts
from tests.waiting import wait_until
from training.model_versions import ModelVersions
from training.next_item.model_file import arrays_of
from training.promotions import Promotions
from training.provenance import digest_training
from training.ranker.artifact import Artifact
from training.split import split_by_time
from training.trainer import TrainResult, refit, train
from transformations.names import SERVICE

BIN = Path(sys.executable).parent
# The next-item model soon: where the ranker alone is looked at.
BRIEF = ("candidates.phases=1", "candidates.sequence.epochs=1", "candidates.chooser.epochs=1")


@pytest.fixture
def copied(films: Project, tmp_path: Path) -> Project:
    """The films as they were run, in a home that a test may change."""
    return copy_project(films, tmp_path / "home")


def start(project: Project, *command: str) -> "subprocess.Popen[str]":
    """The command in a process of its own, and in a group of its own."""
    workspace = project.workspace
    variables = {"FUSION_DATASET": str(workspace.dataset.path), "FUSION_HOME": str(workspace.home)}
    return subprocess.Popen(
        [str(BIN / command[0]), *command[1:]],
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def fit_here(project: Project, *changes: str) -> TrainResult:
    """What one process, this one, fits."""
    workspace = project.workspace
    dataset = change_settings(workspace.dataset, changes)
    rows = TrainingSet.open(workspace.training_set)
    return train(rows, dataset, dataset.ranker, service=SERVICE, encoder_id=None)


def weights(artifact: Artifact) -> dict[str, np.ndarray]:
    return {name: weight.numpy() for name, weight in artifact.ranker.state_dict().items()}


def all_weights(artifact: Artifact) -> dict[str, np.ndarray]:
    next_item = arrays_of(artifact.require_next_item())
    return weights(artifact) | {name: array.numpy() for name, array in next_item.items()}


def steps(run: Path, metric: str) -> list[int]:
    return [step for name, step in scalars(run) if name == metric]


@pytest.mark.parametrize(
    ("part", "metric"), [("ranker", "validation/auc"), ("sequence.2", "sequence/loss")]
)
def test_a_killed_training_goes_on_to_the_same_model(
    films: Project, copied: Project, part: str, metric: str
) -> None:
    workspace = copied.workspace
    while not is_killed_after_an_epoch(copied, part):
        pass  # it was over before it could be killed
    copied.here("train")
    assert not workspace.checkpoints.exists()
    version = Promotions(films.workspace).read().main
    assert ModelVersions(workspace).names() == [version]
    for load in (ModelVersions.load, ModelVersions.load_before_test):
        resumed = load(ModelVersions(workspace), version)
        whole = load(ModelVersions(films.workspace), version)
        assert resumed.metrics == whole.metrics
        for name, weight in all_weights(whole).items():
            np.testing.assert_array_equal(all_weights(resumed)[name], weight, err_msg=name)
    first = min(films.workspace.runs.iterdir())
    again = steps(max(workspace.runs.iterdir()), metric)
    assert again == steps(first, metric)[-len(again) :] and again[0] > 1, "no epoch is run twice"


def is_killed_after_an_epoch(project: Project, part: str) -> bool:
    process = start(project, "feast-fusion", "train")
    checkpoint = project.workspace.checkpoints / f"{part}.safetensors"
    wait_until(lambda: checkpoint.is_file() or process.poll() is not None, "an epoch")
    process.send_signal(signal.SIGKILL)
    printed, _ = process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), printed
    return process.returncode != 0


def test_two_processes_fit_the_model_of_one(films: Project, copied: Project) -> None:
    """Dropout is chance of each process, so there is none here."""
    settings = ("ranker.dropout=0", "ranker.epochs=3", "ranker.loss=joint", *BRIEF)
    changes = [word for setting in settings for word in ("--set", setting)]
    torchrun = ("torchrun", "--standalone", "--nproc-per-node", "2")
    process = start(copied, *torchrun, str(BIN / "feast-fusion"), "train", *changes)
    one = fit_here(copied, *settings)
    rows = TrainingSet.open(copied.workspace.training_set)
    everything = split_by_time(rows.table).all
    served = refit(one, rows, everything, copied.workspace.dataset)
    printed, _ = process.communicate()
    assert process.returncode == 0, printed
    assert printed.count("Trained:") == 1, "one process speaks for both"
    versions = ModelVersions(copied.workspace)
    version = versions.newest().name
    assert f"feast-fusion models promote {version} serves it." in printed
    assert Promotions(copied.workspace).names() == Promotions(films.workspace).names()
    two = versions.load(version)
    assert two.metrics["validation_auc"] == pytest.approx(max(one.history), abs=1e-4)
    for name, weight in weights(served).items():
        np.testing.assert_allclose(weights(two)[name], weight, atol=2e-3, err_msg=name)


def test_a_killed_tuning_goes_on_and_its_line_is_that_model(copied: Project) -> None:
    trials = copied.workspace.tuning
    process = start(copied, "feast-fusion", "tune", "--of", "ranker", "--trials", "500")
    wait_until(lambda: n_finished(trials) >= 2, "two trials")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    n = n_finished(trials) + 1
    printed = copied.here("tune", "--of", "ranker", "--trials", str(n)).stdout
    assert n_finished(trials) == n
    best, line = printed.splitlines()[-2:]
    changes = line.partition("feast-fusion train")[2].replace("--set", "").split()
    found = max(fit_here(copied, *changes).history)
    assert f"Best of {n} trials: validation AUC {found:.4f} in trial" in best


def n_finished(trials: Path) -> int:
    if not trials.is_file():
        return 0
    with closing(sqlite3.connect(trials)) as database:
        query = "SELECT count(*) FROM trials WHERE state = 'COMPLETE'"
        try:
            return int(database.execute(query).fetchone()[0])
        except sqlite3.OperationalError:  # its tables are still to come
            return 0


def test_a_run_records_what_it_was_made_of(films: Project) -> None:
    run = min(films.workspace.runs.iterdir())
    told = texts(run)
    data = json.loads(films.workspace.manifest.read_text())["fingerprint"]
    width = films.workspace.dataset.candidates.chooser.width
    for parameter in (
        "| ranker.fusion | gated |",
        f"| candidates.chooser.width | {width} |",
        "| seed | 0 |",
        f"| data | {data} |",
        "| encoder_id | all_minilm_l6_v2",
        "| registry_version | 20",
    ):
        assert parameter in told
    found = scalars(run)
    liked, chosen = {"train/loss", "validation/auc"}, {"sequence/loss", "chooser/loss"}
    assert {name for name, _ in found} == liked | chosen
    best = max(value for (name, _), value in found.items() if name == "validation/auc")
    metrics = served(films.workspace).metrics
    assert best == pytest.approx(metrics["validation_auc"])


def test_an_unknown_setting_is_refused_in_one_line(films: Project) -> None:
    refused = films.here("train", "--set", "ranker.fusoin=gated", fails=True)
    assert "unknown key [ranker] fusoin; did you mean fusion?" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_other_settings_seeds_or_rows_are_another_fit(films: Project) -> None:
    workspace = films.workspace
    one = digest_training(workspace, seed=0)
    assert digest_training(workspace, seed=0) == one != digest_training(workspace, seed=1)
    assert not workspace.checkpoints.exists()
