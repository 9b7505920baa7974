"""A PostgreSQL server of a test, on a socket in a folder of its own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.waiting import wait_until

_FOLDERS = (*os.get_exec_path(), *map(str, Path("/usr/lib/postgresql").glob("*/bin")))
INITDB = shutil.which("initdb", path=os.pathsep.join(_FOLDERS))


@contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of a server's empty database; a server refuses root, which runs it as nobody."""
    assert INITDB is not None
    user = "nobody" if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp())
    if user is not None:
        shutil.chown(folder, user)
    data, log = folder / "data", folder / "log"
    subprocess.run(
        [INITDB, "-D", str(data), "-U", "owner", "--no-sync"],
        check=True,
        capture_output=True,
        user=user,
        cwd=folder,
    )
    options = ["-c", "listen_addresses=", "-c", "fsync=off", "-k", str(folder)]
    with log.open("w") as output:
        server = subprocess.Popen(
            [str(Path(INITDB).with_name("postgres")), "-D", str(data), *options],
            stdout=output,
            stderr=output,
            user=user,
            cwd=folder,
        )
    try:
        wait_until(lambda: "ready to accept" in log.read_text())
        yield f"postgresql:///postgres?host={folder}&user=owner"
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder)
