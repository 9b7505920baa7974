"""The notebooks run as they are, on a small data set, and leave it as it was."""

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from cli.embedded_redis import stop_redis
from tests.candidate import QUICK
from tests.conftest import Project, WholeRun
from tests.datasets import make_films

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def make_small(folder: Path) -> Path:
    path = make_films(folder, n_users=40, n_items=60, n_events=1500)
    with path.open("a") as file:
        file.write(QUICK)
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = WholeRun("small", make_small, tmp_path_factory).project()
    yield project
    stop_redis(project.workspace.redis)  # which a notebook that failed has left


@each_notebook
def test_runs_and_leaves_the_data_set_as_it_was(
    path: Path, small: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, temporary = small.workspace, tmp_path / "temporary"
    temporary.mkdir()
    for name, value in {
        "FUSION_DATASET": workspace.dataset.path,
        "FUSION_HOME": workspace.home,
        "IPYTHONDIR": tmp_path / "ipython",
        "TMPDIR": temporary,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }.items():
        monkeypatch.setenv(name, str(value))
    places = (workspace.dataset.path.parent, workspace.home)
    before = [contents(place) for place in places]
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=None, resources={"metadata": {"path": path.parent}}).execute()
    assert [contents(place) for place in places] == before
    assert not [*temporary.iterdir()]


def contents(folder: Path) -> dict[Path, str]:
    """The digest of each file, without the state of Redis."""
    files = [path for path in folder.rglob("*") if path.is_file() and "redis" not in path.parts]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@each_notebook
def test_is_kept_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec"}
    for cell in notebook.cells:
        assert not cell.metadata
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None


def test_the_tutorial_lists_all() -> None:
    listed = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        assert f"`{path.relative_to(ROOT)}`" in listed
