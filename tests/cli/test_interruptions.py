"""Signals to a command reach what it started."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import psutil
import pytest

from cli import ended_by_signals
from tests.datasets import make_shop
from tests.waiting import wait_until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_ending_a_run_leaves_no_process(tmp_path: Path, number: int) -> None:
    told = {"FUSION_DATASET": str(make_shop(tmp_path / "data")), "FUSION_HOME": str(tmp_path)}
    command = [str(Path(sys.executable).parent / "feast-fusion"), "run"]
    heeded = partial(signal.signal, number, signal.SIG_DFL)  # under nohup it would be ignored
    run = subprocess.Popen(
        command, env=os.environ | told, stdout=subprocess.DEVNULL, preexec_fn=heeded
    )
    process = psutil.Process(run.pid)

    def started() -> list[psutil.Process]:
        return process.children(recursive=True)

    def is_at_work() -> bool:
        called = [" ".join(child.cmdline()) for child in started()]
        return all(any(name in line for line in called) for name in ("redis-server", "feast_comm"))

    wait_until(is_at_work, "feast and Redis")
    children = started()
    run.send_signal(number)
    assert run.wait() == 128 + number
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []


def test_what_the_caller_ignores_stays_ignored() -> None:
    """As under `nohup`; in another thread than the first nothing is changed at all."""
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_by_signals():
            os.kill(os.getpid(), signal.SIGHUP)
        with pytest.raises(SystemExit), ended_by_signals():
            os.kill(os.getpid(), signal.SIGTERM)
        with ThreadPoolExecutor(1) as thread:
            thread.submit(ended_by_signals().__enter__).result()
    finally:
        assert signal.signal(signal.SIGHUP, former) is signal.SIG_IGN
