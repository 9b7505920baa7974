"""An environment that holds the project's wheel and what the wheel declares, nothing else."""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path, PurePath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PACKAGED = ("README.md", "LICENSE", "pyproject.toml", "setup.py")


@dataclass(frozen=True)
class BareEnvironment:
    """`scripts` has its python and feast."""

    scripts: Path
    site_packages: Path

    def run(self, folder: Path, program: str, *arguments: str, fails: bool = False) -> str:
        """What the program prints, run in `folder`."""
        done = subprocess.run(
            [self.scripts / program, *arguments],
            cwd=folder,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            | {"IS_TEST": "True"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        return done.stderr if fails else done.stdout

    def has(self, module: str) -> bool:
        """Whether the module can be imported."""
        return self._find(module) != "None"

    def path_of(self, module: str) -> Path:
        """The file that the module is imported from."""
        return Path(self._find(module))

    def _find(self, module: str) -> str:
        program = f"import importlib.util as u; s = u.find_spec({module!r}); print(s and s.origin)"
        return self.run(self.scripts, "python", "-c", program).strip()


def build_wheel(folder: Path) -> Path:
    """The wheel of this checkout, built from a copy so that the checkout stays as it is."""
    source = folder / "source"
    source.mkdir()
    for name in PACKAGED:
        shutil.copy(ROOT / name, source)
    for package in ROOT.glob("*/__init__.py"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(package.parent, source / package.parent.name, ignore=ignored)
    no_data = shutil.ignore_patterns("__pycache__", "data")
    shutil.copytree(ROOT / "examples", source / "examples", ignore=no_data)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    _pip("wheel", *options, "--wheel-dir", str(folder), str(source))
    (wheel,) = folder.glob("*.whl")
    return wheel


def make_environment(folder: Path, wheel: Path, extra: str = "") -> BareEnvironment:
    """The wheel in an environment without pip, its declared packages linked from this one.

    A package that the code imports and the wheel does not declare is absent.
    """
    venv.create(folder, symlinks=True, with_pip=False)
    scripts = folder / "bin"
    (site_packages,) = folder.glob("lib/python*/site-packages")
    _pip(
        *("--python", str(scripts / "python"), "install", "--quiet"),
        *("--no-deps", "--no-index", str(wheel)),
    )
    (metadata,) = site_packages.glob("feast_fusion-*.dist-info")
    for needed in _closure(PathDistribution(metadata), extra):
        _link(needed, site_packages)
    feast = scripts / "feast"
    feast.write_text(
        f"#!{scripts / 'python'}\nimport sys\n\nfrom feast.cli.cli import cli\n\nsys.exit(cli())\n"
    )
    feast.chmod(0o755)
    return BareEnvironment(scripts, site_packages)


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _closure(wheel: Distribution, extra: str) -> Iterator[Distribution]:
    """Every distribution that the wheel needs, directly or not, each once."""
    own = canonicalize_name(wheel.metadata["Name"])
    asked, waiting = {(own, extra), (own, "")}, [(wheel, extra), (wheel, "")]
    found: set[str] = {own}
    while waiting:
        dependent, its_extra = waiting.pop()
        for needed in map(Requirement, dependent.requires or []):
            if needed.marker is not None and not needed.marker.evaluate({"extra": its_extra}):
                continue
            name = canonicalize_name(needed.name)
            package = wheel if name == own else distribution(name)
            for further in ("", *needed.extras):
                if (name, further) not in asked:
                    asked.add((name, further))
                    waiting.append((package, further))
            if name not in found:
                found.add(name)
                yield package


def _link(package: Distribution, site_packages: Path) -> None:
    """Link its modules and folders; a folder with what is compiled of it, so once for all.

    Of a namespace, whose folders several distributions share, its parts are linked.
    """
    root = Path(str(package.locate_file(""))).resolve()
    for part in {_whole(file, root) for file in package.files or []}:
        # scripts of the running environment and data outside of its site-packages stay behind
        if ".." in part.parts or "__pycache__" in part.parts:
            continue
        link = site_packages / part
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(root / part)


def _whole(file: PurePath, root: Path) -> PurePath:
    """The outermost package that a file belongs to, or else the file."""
    folders = [*file.parents][-2::-1]  # without the root
    return next((folder for folder in folders if _is_package(root / folder)), file)


@cache
def _is_package(folder: Path) -> bool:
    return (folder / "__init__.py").is_file()
