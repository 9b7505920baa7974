"""Training as a person meets it: settings, records, a kill in the middle, several processes."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Project, open_project
from tests.training.test_tracking import scalars, texts
from tests.waiting import wait_until
from training.checkpoint import Checkpoint
from training.provenance import digest_training
from training.ranker.artifact import Artifact

COMMAND = str(Path(sys.executable).parent / "feast-fusion")
SLOW = ("--set", "ranker.batch_size=32", "--set", "ranker.epochs=5", "--set", "ranker.patience=5")


@pytest.fixture
def copied(films: Project, tmp_path: Path) -> Project:
    """The films with their training set, in a home that a test may change."""
    shutil.copytree(films.workspace.home, tmp_path / "home", ignore=shutil.ignore_patterns("redis"))
    return open_project(films.workspace.dataset.path, tmp_path / "home")


def variables_of(project: Project) -> dict[str, str]:
    workspace = project.workspace
    return {"FUSION_DATASET": str(workspace.dataset.path), "FUSION_HOME": str(workspace.home)}


def start(project: Project, *arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([COMMAND, *arguments], env=os.environ | variables_of(project))


def weights(project: Project) -> dict[str, np.ndarray]:
    ranker = Artifact.load(project.workspace.artifact).ranker
    return {name: weight.numpy() for name, weight in ranker.state_dict().items()}


def validation_auc(project: Project) -> float:
    return Artifact.load(project.workspace.artifact).metrics["validation_auc"]


def steps(run: Path) -> list[int]:
    return [step for name, step in scalars(run) if name == "validation/auc"]


def test_a_killed_training_goes_on_to_the_same_model(films: Project, copied: Project) -> None:
    """Issue F, acceptance 6."""
    workspace = copied.workspace
    process = start(copied, "train", *SLOW)
    wait_until(workspace.checkpoint.is_file, "the first epoch")
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    copied.run("train", *SLOW)
    resumed, auc = weights(copied), validation_auc(copied)
    assert not workspace.checkpoint.exists()
    again = steps(max(workspace.runs.iterdir()))
    assert again == list(range(6 - len(again), 6)) and len(again) < 5, "no epoch is run twice"
    copied.run("train", *SLOW)
    assert validation_auc(copied) == auc
    whole = weights(copied)
    assert all(np.array_equal(resumed[name], weight) for name, weight in whole.items())


def test_two_processes_fit_the_model_of_one(copied: Project) -> None:
    """Issue F, acceptance 6; dropout is chance of each process, so there is none here."""
    workspace = copied.workspace
    changes = [
        "--set",
        "ranker.dropout=0",
        "--set",
        "ranker.epochs=3",
        "--set",
        "ranker.loss=joint",
    ]
    copied.run("train", *changes)
    one, auc = weights(copied), validation_auc(copied)
    torchrun = str(Path(sys.executable).parent / "torchrun")
    done = subprocess.run(
        [torchrun, "--standalone", "--nproc-per-node", "2", COMMAND, "train", *changes],
        env=os.environ | variables_of(copied),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Trained:") == 1, "one process speaks for both"
    two = weights(copied)
    assert Artifact.load(workspace.artifact).metrics["validation_auc"] == pytest.approx(
        auc, abs=1e-4
    )
    for name, weight in one.items():
        np.testing.assert_allclose(two[name], weight, atol=2e-3, err_msg=name)


def test_a_killed_tuning_goes_on_and_its_line_trains_that_model(copied: Project) -> None:
    """Issue F, acceptance 6."""
    workspace = copied.workspace
    process = start(copied, "tune", "--trials", "40")
    wait_until(lambda: n_finished(workspace.tuning) >= 2, "two trials")
    process.send_signal(signal.SIGKILL)
    process.wait()
    n_before = n_finished(workspace.tuning)
    printed = copied.run("tune", "--trials", str(n_before + 1)).stdout
    assert n_finished(workspace.tuning) == n_before + 1
    best, *_, line = printed.splitlines()
    assert f"Best of {n_before + 1} trials: validation AUC" in best
    copied.run("train", *line.split("feast-fusion train")[-1].split())
    assert f"AUC {validation_auc(copied):.4f} in trial" in best


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
    (run,) = films.workspace.runs.iterdir()
    told = texts(run)
    for parameter in (
        "| ranker.fusion | gated |",
        "| candidates.chooser.width | 64 |",
        "| seed | 0 |",
        "| encoder_id | all_minilm_l6_v2",
        "| registry_version | 20",
    ):
        assert parameter in told
    data = json.loads(films.workspace.manifest.read_text())["fingerprint"]
    assert f"| data | {data} |" in told
    found = scalars(run)
    assert {name for name, _ in found} == {"train/loss", "validation/auc"}
    best = Artifact.load(films.workspace.artifact).metrics["validation_auc"]
    assert max(v for (name, _), v in found.items() if name == "validation/auc") == pytest.approx(
        best
    )


def test_an_unknown_setting_is_refused_in_one_line(films: Project) -> None:
    refused = films.run("train", "--set", "ranker.fusoin=gated", fails=True)
    assert "unknown key [ranker] fusoin; expected one of average" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_other_settings_seeds_or_rows_are_another_fit(films: Project) -> None:
    workspace = films.workspace
    one = digest_training(workspace, seed=0)
    assert digest_training(workspace, seed=0) == one != digest_training(workspace, seed=1)
    assert Checkpoint(workspace.checkpoint, one).load() is None
