"""What `make dist` builds: a wheel that is the whole tool, and a sdist that builds the same one."""

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.deploy.places import ROOT

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
NEEDED = (
    "application/cli/__init__.py",
    "application/examples/movielens/dataset.toml",
    "application/examples/movielens/prepare.py",
    "application/examples/wheels.py",
    "application/feature_repo/feature_store.yaml",
    "py.typed",
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of both, from files that git knows, so that the checkout stays as it is."""
    folder = tmp_path_factory.mktemp("dist")
    source = folder / "source"
    source.mkdir()
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), "."]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_wheel_has_all_that_commands_need(built: Path) -> None:
    """It is built of the sdist, so the sdist is whole as well."""
    (wheel,) = built.glob("*.whl")
    assert wheel.name == f"feast_fusion-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {f"feast_fusion/{name}" for name in NEEDED} <= {*names}
    roots = {name.split("/")[0] for name in names}
    assert roots == {"feast_fusion", f"feast_fusion-{VERSION}.dist-info"}
    ours = {
        path.relative_to(ROOT).as_posix()
        for room in (path.parent for path in ROOT.glob("*/__init__.py"))
        for path in room.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and room.name != "feast_fusion"
    }
    packed = {name.removeprefix("feast_fusion/application/") for name in names}
    assert ours - packed == set(), "pages, templates and fonts too"
    assert not [name for name in packed if name.startswith("examples/movielens/data/")]


def test_the_sdist_says_what_is_new_and_has_no_data(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"CHANGELOG.md", "README.md", "LICENSE", "requirements.lock", "setup.py"} <= names
    assert not [name for name in names if name.startswith((".fusion", "examples/movielens/data/"))]


def test_the_changelog_and_the_chart_know_the_version() -> None:
    assert f"## [{VERSION}]" in (ROOT / "CHANGELOG.md").read_text()
    chart = (ROOT / "deploy" / "chart" / "Chart.yaml").read_text()
    assert f"version: {VERSION}\nappVersion: {VERSION}\n" in chart
