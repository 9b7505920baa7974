"""What all tests share: no network, no settings of the caller, and two data sets run for real."""

import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from filelock import FileLock, Timeout
from hypothesis import settings
from hypothesis import strategies as st

# Before any test imports a library that reads them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# As many processes as cores run tests: threads of one would wait for those of the others.
os.environ["OMP_NUM_THREADS"] = "1"
# As in the command: at every 700 objects it would be a quarter of what loading the tests takes.
gc.set_threshold(10_000, 10, 10)
for name in ("FUSION_DATASET", "FUSION_HOME", "FUSION_TABLES", "FUSION_VECTORS", "REDIS_URL"):
    os.environ.pop(name, None)

# The same examples in every run and on every machine, however busy it is.
settings.register_profile("suite", derandomize=True, database=None, deadline=None)
settings.load_profile("suite")
from cli import main  # noqa: E402
from intake.workspace import Workspace, open_workspace  # noqa: E402
from tests.applying import apply_here  # noqa: E402
from tests.datasets import make_films, make_shop  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # What takes long comes first: at the end one process would wait for the other.
    of_long_modules = {"films", "shop", "plain", "counted"}
    long = {
        item.path
        for item in items
        if isinstance(item, pytest.Function) and of_long_modules & {*item.fixturenames}
    }
    items.sort(key=lambda item: item.path not in long)


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
def films(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Explicit ratings with users, run the whole way once."""
    run = WholeRun("films", make_films, tmp_path_factory)
    if run.is_made_elsewhere():  # not waited for: the other data set is needed as well
        request.getfixturevalue("shop")
    return run.project()


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Implicit purchases in two languages without users, run the whole way once."""
    return WholeRun("shop", make_shop, tmp_path_factory).project()


class WholeRun:
    """A data set run by the process that needs it first; the others go on from a copy."""

    def __init__(
        self, name: str, make: Callable[[Path], Path], factory: pytest.TempPathFactory
    ) -> None:
        own = factory.getbasetemp()
        self._shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / f"{name}-run"
        self._lock = FileLock(f"{self._shared}.lock")
        self._make, self._own = make, factory.mktemp(name)

    def is_made_elsewhere(self) -> bool:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return True
        self._lock.release()
        return False

    def project(self) -> Project:
        made, home = self._shared / "home", self._own / "home"
        with self._lock:
            if made.is_dir():
                shutil.copytree(made, home)
                project = open_project(self._shared / "data" / "dataset.toml", home)
                apply_here(project.workspace)
                return project
            project = open_project(self._make(self._shared / "data"), home)
            project.run("run")
            shutil.copytree(home, made)
            return project
