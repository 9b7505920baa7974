"""The example examples/embedding, run as its docstring says."""

import os
import shutil
import subprocess
from pathlib import Path

from cli.embedded_redis import RunningRedis

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "embedding"
READ = "-- read\n"
# The four commands in one process, which imports Feast and torch once.
COMMANDS = f"""
import runpy, sys
from feast.cli.cli import cli

def notes(command):
    sys.argv = ["notes.py", command]
    runpy.run_path("notes.py", run_name="__main__")

window = sys.argv[1:]
notes("write")
cli(["apply"], standalone_mode=False)
cli(["materialize", *window], standalone_mode=False)
print({READ!r}, end="")
notes("read")
"""
WINDOW = ("2024-01-01T00:00:00", "2024-12-31T00:00:00")


def copy_example(folder: Path, redis: RunningRedis) -> None:
    """The example's files in `folder`, on a Redis that runs."""
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("data", "__pycache__"))
    config = folder / "feature_store.yaml"
    text = config.read_text()
    assert "localhost:6379" in text
    config.write_text(text.replace("localhost:6379", redis.connection))


def run_example(folder: Path, scripts: Path) -> list[str]:
    """What `notes.py read` prints; `scripts` has the python to run with."""

    done = subprocess.run(
        [scripts / "python", "-c", COMMANDS, *WINDOW],
        cwd=folder,
        env=os.environ | {"IS_TEST": "True"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.rpartition(READ)[2].splitlines()
