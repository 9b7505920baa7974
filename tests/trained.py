"""The model of a data set that was run."""

from pathlib import Path

from intake.workspace import Workspace
from training.model_versions import ModelVersions
from training.promotions import Promotions
from training.ranker.artifact import Artifact


def served(workspace: Workspace) -> Artifact:
    """The artifact of the promoted version."""
    return ModelVersions(workspace).load(Promotions(workspace).read().main)


def before_test(workspace: Workspace) -> Artifact:
    """The one that was fitted without the test part."""
    return ModelVersions(workspace).load_before_test(Promotions(workspace).read().main)


def add_other_version(workspace: Workspace) -> str:
    """The promoted version with other weights, which gives other scores; nobody has promoted it."""
    versions, promoted = ModelVersions(workspace), Promotions(workspace).read().main
    other = versions.load(promoted)
    for weight in other.ranker.parameters():
        weight.data.mul_(-0.5)
    return versions.add(other, versions.load_before_test(promoted), "of another training")


def add_reversed_version(workspace: Workspace, fingerprint: str = "reversed") -> str:
    """The promoted version with a chooser that puts the best item last; nobody has promoted it."""
    versions, promoted = ModelVersions(workspace), Promotions(workspace).read().main
    artifacts = versions.load(promoted), versions.load_before_test(promoted)
    for artifact in artifacts:
        chooser = artifact.require_next_item().chooser
        for layer in (chooser.linear, chooser.shift, chooser.network[-1]):
            for weight in layer.parameters():
                weight.data.neg_()
    return versions.add(*artifacts, fingerprint)


def served_folder(workspace: Workspace) -> Path:
    """Where `served` lies."""
    return workspace.models / Promotions(workspace).read().main / "served"
