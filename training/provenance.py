"""What a model is made of: the same digest, the same model (on a CPU)."""

import hashlib
from pathlib import Path

import torch

import training
from feast_fusion.files import digest_file
from feast_fusion.training_set_files import MANIFEST
from intake.workspace import Workspace


def digest_training(workspace: Workspace, seed: int, candidate: str | None = None) -> str:
    """SHA-256 of sources, saved training set, settings, seed, and the code that trains on them.

    candidate : its encoder id, where the training set is that of a candidate
    """
    settings = workspace.dataset.model_dump_json(include={"ranker", "candidates", "split"})
    digest = hashlib.sha256(f"{torch.__version__} {seed} {settings}".encode())
    files = [
        workspace.manifest,
        workspace.training_set_of(candidate) / MANIFEST,  # which has the digests of the other files
        *Path(training.__file__).parent.rglob("*.py"),
    ]
    for path in sorted(path for path in files if path.is_file()):
        digest.update(f"{path.name} {digest_file(path)}".encode())
    return digest.hexdigest()
