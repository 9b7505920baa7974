"""The wheel has one import root, feast_fusion: the application's rooms are packed inside it.

A user's own folder may be called transformations or training, and Feast puts it last on the path:
rooms installed under such names would take its place. `feast_fusion.command` finds them.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOMS = (
    "cli",
    "evaluation",
    "forgetting",
    "serving",
    "training",
    "feature_repo",
    "transformations",
    "intake",
)
EXAMPLE = "examples/movielens"  # what `feast-fusion demo` runs on


class _WithApplication(build_py):
    def run(self) -> None:
        super().run()
        if self.editable_mode:  # the whole clone is on the path
            return
        application = Path(self.build_lib, "feast_fusion", "application")
        ignored = shutil.ignore_patterns("__pycache__", "data")
        for folder in (*ROOMS, EXAMPLE):
            shutil.copytree(folder, application / folder, ignore=ignored, dirs_exist_ok=True)
        shutil.copy("examples/wheels.py", application / "examples")  # by which EXAMPLE is fetched


setup(cmdclass={"build_py": _WithApplication})
