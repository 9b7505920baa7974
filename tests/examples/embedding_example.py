"""The example examples/embedding, run as its docstring says."""

import os
import shutil
import subprocess
from pathlib import Path

from cli.embedded_redis import RunningRedis

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "embedding"
WINDOW = ("2024-01-01T00:00:00", "2024-12-31T00:00:00")


def copy_example(folder: Path, redis: RunningRedis) -> None:
    """The example's files in `folder`, on a Redis that runs."""
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("data", "__pycache__"))
    config = folder / "feature_store.yaml"
    text = config.read_text()
    assert "localhost:6379" in text
    config.write_text(text.replace("localhost:6379", redis.connection))


def run_example(folder: Path, scripts: Path) -> list[str]:
    """What `notes.py read` prints; `scripts` has the python and the feast to run with."""

    def run(program: str, *arguments: str) -> str:
        done = subprocess.run(
            [scripts / program, *arguments],
            cwd=folder,
            env=os.environ | {"IS_TEST": "True"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("python", "notes.py", "write")
    run("feast", "apply")
    run("feast", "materialize", *WINDOW)
    return run("python", "notes.py", "read").splitlines()
