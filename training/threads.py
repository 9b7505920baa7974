"""How many threads a fit may use."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def on_few_threads() -> Iterator[None]:
    """Half of the cores: these are small operations, whose threads wait for one another.

    Measured on two cores with other work on them: an epoch of 3 s on one thread took 10 to 60 s on
    two.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, (os.cpu_count() or 2) // 2)))
    try:
        yield
    finally:
        torch.set_num_threads(before)
