"""The metrics of all processes of one port, whichever of them is asked.

Each process gives its own at a Unix socket in a folder of the service; who is asked reads those of
the others, and a label says which process a number is of.
"""

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path

from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry

_PATIENCE_S = 2.0  # with another process, which may be busy or gone
_PIECE = 1 << 16


class MetricPeers(AbstractContextManager["MetricPeers"]):
    """The processes that have a socket in `folder`, this one as `name`."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._path = folder, folder / f"{name}.sock"
        self._read: Callable[[], bytes] = lambda: b""
        self._listener = socket.socket(socket.AF_UNIX)
        self._path.unlink(missing_ok=True)  # of a process of that name which died
        self._listener.bind(str(self._path))
        self._listener.listen()
        threading.Thread(target=self._serve, name="metrics", daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()

    def publish(self, read: Callable[[], bytes]) -> None:
        """From here on `read` says what the metrics of this process are, in Prometheus' format."""
        self._read = read

    def render(self) -> bytes:
        """The metrics of all processes that answer, each with the label `process`."""
        texts = ((path.stem, self._ask(path)) for path in sorted(self._folder.glob("*.sock")))
        together = CollectorRegistry()
        together.register(_Fixed(_merged((process, text) for process, text in texts if text)))
        return generate_latest(together)

    def _ask(self, path: Path) -> bytes:
        pieces = []
        with closing(socket.socket(socket.AF_UNIX)) as client, suppress(OSError):
            client.settimeout(_PATIENCE_S)
            client.connect(str(path))
            while piece := client.recv(_PIECE):
                pieces.append(piece)
            return b"".join(pieces)
        return b""

    def _serve(self) -> None:
        while True:
            try:
                asked, _ = self._listener.accept()
            except OSError:  # it is closed
                return
            with closing(asked), suppress(OSError):
                asked.settimeout(_PATIENCE_S)
                asked.sendall(self._read())


class _Fixed(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = [*metrics]

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics


def _merged(texts: Iterable[tuple[str, bytes]]) -> Iterable[Metric]:
    found: dict[str, Metric] = {}
    for process, text in texts:
        for metric in text_string_to_metric_families(text.decode()):
            merged = found.setdefault(
                metric.name, Metric(metric.name, metric.documentation, metric.type)
            )
            for sample in metric.samples:
                labels = {**sample.labels, "process": process}
                merged.add_sample(sample.name, labels, sample.value)
    return found.values()
