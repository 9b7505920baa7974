"""`feast apply` in this process: the command would import for seconds what is already here."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from feast.repo_operations import apply_total

from cli.feast_repository import REPOSITORY, environment, repo_config
from intake.workspace import Workspace


def apply_here(workspace: Workspace) -> None:
    """Register the declarations of a workspace; tests/feature_repo runs the command itself."""
    with declarations_of(REPOSITORY) as patch:
        for name, value in environment(workspace).items():
            patch.setenv(name, value)
        patch.chdir(REPOSITORY)
        apply_total(repo_config(workspace), REPOSITORY, skip_source_validation=True)


@contextmanager
def declarations_of(repository: Path) -> Iterator[pytest.MonkeyPatch]:
    """Python finds the declarations of this repository, not those that it read of another one."""
    with pytest.MonkeyPatch.context() as patch:
        for name in _declaring():
            patch.delitem(sys.modules, name)
        patch.setattr(sys, "path", [str(repository), *sys.path])
        try:
            yield patch
        finally:
            for name in _declaring():
                del sys.modules[name]


def _declaring() -> list[str]:
    roots = {"feature_repo", "definitions"}
    return [name for name in sys.modules if name.partition(".")[0] in roots]
