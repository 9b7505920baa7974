"""An S3 server on this machine, and an Iceberg catalogue on it."""

import logging
import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer
from pyarrow import fs
from pyiceberg.utils.config import Config

CATALOG = "lake"
BUCKET = "lake"


@dataclass(frozen=True)
class Lake:
    """The bucket, and `iceberg://lake/NAMESPACE.TABLE` in it."""

    url: str

    def table(self, name: str) -> str:
        """The URI of a table."""
        return f"iceberg://{CATALOG}/{name}"

    def files(self, prefix: str) -> list[str]:
        """The files below `s3://lake/PREFIX`, with their paths from there."""
        filesystem, root = fs.FileSystem.from_uri(f"s3://{BUCKET}/{prefix}")
        selector = fs.FileSelector(root, recursive=True, allow_not_found=True)
        found = filesystem.get_file_info(selector)
        return sorted(i.path.removeprefix(f"{root}/") for i in found if i.is_file)


@contextmanager
def open_lake(folder: Path) -> Iterator[Lake]:
    """The server, which this process and those it starts find by their environment."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    url = f"http://127.0.0.1:{port}"
    catalog = f"PYICEBERG_CATALOG__{CATALOG.upper()}"
    variables = {
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": url,
        f"{catalog}__TYPE": "sql",
        f"{catalog}__URI": f"sqlite:///{folder}/catalog.db",
        f"{catalog}__WAREHOUSE": f"s3://{BUCKET}/tables",
        f"{catalog}__S3__ENDPOINT": url,
        f"{catalog}__S3__REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setitem(os.environ, name, value)
        patch.setattr("pyiceberg.catalog._ENV_CONFIG", Config())  # read once, when it is imported
        urllib.request.urlopen(urllib.request.Request(f"{url}/{BUCKET}", method="PUT")).close()
        yield Lake(url)
    server.stop()
