"""Hosts with homes of their own that share versions at a place, and what each test of it needs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from intake.model_settings import RankerConfig
from intake.workspace import Workspace
from tests.training.synthetic import make_dataset, make_training_set
from training.model_versions import ModelVersions
from training.ranker.artifact import Artifact
from training.trainer import train


def small_artifacts(n: int) -> list[Artifact]:
    """Rankers of other seeds, of one epoch."""
    config, rows = RankerConfig(epochs=1, batch_size=128), make_training_set(30)
    return [
        train(rows, make_dataset(), config, service="s", encoder_id="e_1", seed=seed).artifact
        for seed in range(n)
    ]


def hosts_of(place: str, folder: Path, artifacts: Sequence[Artifact]) -> tuple[Workspace, ...]:
    """Two hosts, of which the first has trained all artifacts."""
    one = Workspace(make_dataset(), folder / "one", shared_models=place)
    for number, artifact in enumerate(artifacts):
        ModelVersions(one).add(artifact, artifacts[0], f"f{number}")
    return one, replace(one, home=folder / "other")
