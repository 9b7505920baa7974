"""A session with a Spark Connect server: one that runs elsewhere, or Sail in this process."""

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from feast_fusion import errors
from feast_fusion.errors import StoreUnavailableError, extra_required

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LOCAL = "local"
_CONNECT_SECONDS = 10  # pyspark itself tries for minutes
_PORT = 15002
_OURS = re.compile(r"feast_fusion\.errors\.(\w+): (.*)")


@contextmanager
def spark_session(url: str) -> Iterator["SparkSession"]:
    """A session of its own with the server at `url`, or with Sail in this process for `local`.

    Raises
    ------
    MissingExtraError
        A package of the extra `spark` is not installed.
    StoreUnavailableError
        No server answers, or a task failed there.
    FeastFusionError
        What a task raised.
    """
    with extra_required("spark"):
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession

    if url == LOCAL:
        address = _sail()
        url = f"sc://{address}"
    else:
        _require_answer(url)
    try:
        session = SparkSession.builder.remote(url).create()
        try:
            yield session
        finally:
            session.stop()
    except PySparkException as error:
        raise _told(error, url) from error


@cache
def _sail() -> str:
    """Host and port of the Sail server of this process, started when first asked for."""
    with extra_required("spark"):
        from pysail.spark import SparkConnectServer

    os.environ.setdefault("RUST_LOG", "error")  # else it logs each session on stderr
    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    _servers.append(server)
    host, port = server.listening_address
    return f"{host}:{port}"


_servers: list[object] = []  # a server ends with its object


def _require_answer(url: str) -> None:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname, parts.port or _PORT), _CONNECT_SECONDS).close()
    except OSError as error:
        raise StoreUnavailableError(
            f"engine spark: got no answer from {url} ({error}), expected a Spark Connect server. "
            "Start it, correct the url, or take `url: local`."
        ) from error


def _told(error: Exception, url: str) -> Exception:
    """What a task raised, if it was an error of ours, else that the job failed."""
    ours = _OURS.search(str(error))
    if ours is not None:
        kind = getattr(errors, ours[1], StoreUnavailableError)
        told: Exception = kind(ours[2].strip())
        return told
    first = " ".join(str(error).split())[:500]
    return StoreUnavailableError(
        f"engine spark: got a failed job from {url}: {first}. Expected rows. Its workers need "
        "Python with this version of feast-fusion and the files at the same paths."
    )
