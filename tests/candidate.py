"""A data set with a candidate encoder beside its own, of another width: a mixed answer raises."""

from pathlib import Path

from tests.conftest import Project, open_project
from tests.datasets import BRIEF_CANDIDATES
from tests.feast_fusion.encoding.tiny_models import save_model
from tests.serving.http.service_process import copy_project
from transformations.declared_encoders import identify_every

CANDIDATE = "tiny"
QUICK = f"\n[ranker]\nepochs = 2\n{BRIEF_CANDIDATES}"


def with_candidate(project: Project, folder: Path) -> Project:
    """A copy whose dataset.toml declares one, and trains in no time; nothing of it is applied."""
    copied = copy_project(project, folder / "home", folder / "data")
    path = copied.workspace.dataset.path
    declare(path, CANDIDATE, save_tiny(path.parent / "tiny"))
    with path.open("a") as file:
        file.write(QUICK)
    declared = open_project(path, copied.workspace.home)
    declared.here("prepare")  # of the files in their new place
    return declared


def save_tiny(folder: Path) -> Path:
    """A transformer of random weights, 32 numbers wide."""
    return save_model(folder, "bert", pooling={"pooling_mode_mean_tokens": True})


def declare(dataset: Path, name: str, model: Path | str, **keys: object) -> None:
    """Adds a candidate to a dataset.toml."""
    lines = [f'\n[encoder.candidates.{name}]\nmodel = "{model}"']
    with dataset.open("a") as file:
        file.write("\n".join([*lines, *(f"{key} = {value}" for key, value in keys.items()), ""]))


def encoder_ids(project: Project) -> list[str]:
    """Of the main encoder and the candidates."""
    return [identity.encoder_id for _, identity in identify_every(project.workspace.dataset)]
