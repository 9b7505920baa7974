"""`feast apply` in this process: the command would import for seconds what is already here."""

import sys

import pytest
from feast.repo_operations import apply_total

from cli.feast_repository import REPOSITORY, environment, repo_config
from intake.workspace import Workspace
from transformations import on_demand


def apply_here(workspace: Workspace) -> None:
    """Register the declarations of a workspace; tests/feature_repo runs the command itself."""
    declared = [name for name in sys.modules if name.partition(".")[0] in _DECLARING]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(workspace).items():
            patch.setenv(name, value)
        patch.setattr(on_demand, "_declaring", False)  # the declarations set it for their process
        patch.syspath_prepend(REPOSITORY)
        patch.chdir(REPOSITORY)
        for name in declared:  # they were read for another data set
            patch.delitem(sys.modules, name)
        apply_total(repo_config(workspace), REPOSITORY, skip_source_validation=True)
        for name in [name for name in sys.modules if name.partition(".")[0] in _DECLARING]:
            del sys.modules[name]


_DECLARING = ("feature_repo", "definitions")
