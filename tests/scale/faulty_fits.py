"""Fits of versions that go wrong, in a module that the workers of Ray can import."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

Fit = Callable[[int], pa.Table]


@dataclass
class KilledOnce:
    """A fit whose process is killed in the version of so many events, once."""

    fit: Fit
    end: int
    mark: Path

    def __call__(self, end: int) -> pa.Table:
        if end == self.end and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.fit(end)


@dataclass
class Refused:
    """A fit that raises in the version of so many events."""

    fit: Fit
    end: int

    def __call__(self, end: int) -> pa.Table:
        if end == self.end:
            raise np.linalg.LinAlgError("Singular matrix")
        return self.fit(end)
