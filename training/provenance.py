"""What a model is made of: the same digest, the same model (on a CPU)."""

import hashlib
from pathlib import Path

import torch

import training
from intake.workspace import Workspace


def digest_training(workspace: Workspace, seed: int) -> str:
    """SHA-256 of sources, saved training set, settings, seed, and the code that trains on them."""
    settings = workspace.dataset.model_dump_json(include={"ranker", "candidates", "split"})
    digest = hashlib.sha256(f"{torch.__version__} {seed} {settings}".encode())
    files = [
        workspace.manifest,
        *workspace.training_set.rglob("*"),
        *Path(training.__file__).parent.rglob("*.py"),
    ]
    for path in sorted(path for path in files if path.is_file()):
        with path.open("rb") as file:
            digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
