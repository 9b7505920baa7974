"""What all tests share: no network, no settings of the caller, and two data sets run for real."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import settings
from hypothesis import strategies as st

# Before any test imports a library that reads them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# As many processes as cores run tests: threads of one would wait for those of the others.
os.environ["OMP_NUM_THREADS"] = "1"
for name in ("FUSION_DATASET", "FUSION_HOME", "REDIS_URL"):
    os.environ.pop(name, None)

# The same examples in every run and on every machine, however busy it is.
settings.register_profile("suite", derandomize=True, database=None, deadline=None)
settings.load_profile("suite")
from cli import main  # noqa: E402
from intake.workspace import Workspace, open_workspace  # noqa: E402
from tests.datasets import make_films, make_shop  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The modules that run whole jobs come first: at the end one process would wait for the other.
    whole_job = {
        item.path
        for item in items
        if isinstance(item, pytest.Function) and {"films", "shop", "plain"} & {*item.fixturenames}
    }
    items.sort(key=lambda item: item.path not in whole_job)


def pytest_collection_finish() -> None:
    # Hypothesis builds its table of Unicode: seconds, which no test's first example should hold.
    st.text().validate()


@dataclass(frozen=True)
class Project:
    """A data set in a folder of its own, and the real command on it."""

    workspace: Workspace

    def run(
        self, *arguments: str, fails: bool = False, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """`feast-fusion ARGUMENTS` on this data set, in a process of its own."""
        command = [str(Path(sys.executable).parent / "feast-fusion"), *arguments]
        env = os.environ | self._variables | variables
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        return done

    def here(self, *arguments: str, fails: bool = False) -> subprocess.CompletedProcess[str]:
        """The same in this process, which need not import for five seconds what is here."""
        said = CliRunner().invoke(main, arguments, env=self._variables)
        if said.exception is not None and not isinstance(said.exception, SystemExit):
            raise said.exception
        assert (said.exit_code != 0) is fails, said.output
        return subprocess.CompletedProcess(arguments, said.exit_code, said.stdout, said.stderr)

    @property
    def _variables(self) -> dict[str, str]:
        workspace = self.workspace
        return {"FUSION_DATASET": str(workspace.dataset.path), "FUSION_HOME": str(workspace.home)}


def open_project(description: Path, home: Path) -> Project:
    return Project(open_workspace(description, home))


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Explicit ratings with users, run the whole way once."""
    folder = tmp_path_factory.mktemp("films")
    project = open_project(make_films(folder / "data"), folder / "home")
    project.run("run")
    return project


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Implicit purchases in two languages without users, run the whole way once."""
    folder = tmp_path_factory.mktemp("shop")
    project = open_project(make_shop(folder / "data"), folder / "home")
    project.here("run")
    return project
