"""What is served is what the sources say: they are built once more."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_files_in_the_package_are_those_of_the_sources(tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("this machine has no npm, which builds the page")
    ignored = shutil.ignore_patterns("node_modules")
    sources = shutil.copytree(ROOT / "page", tmp_path / "page", ignore=ignored)
    built = tmp_path / "built"
    subprocess.run([npm, "ci", "--silent", "--prefer-offline"], cwd=sources, check=True)
    subprocess.run([npm, "run", "--silent", "build", "--", str(built)], cwd=sources, check=True)
    assert contents(built) == contents(ROOT / "serving" / "http" / "page")
    assert sum(map(len, contents(built).values())) < 80_000
