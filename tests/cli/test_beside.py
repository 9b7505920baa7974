"""A process beside this one: its result, what it tells, what it raises, and that it never stays."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cli.beside import beside
from feast_fusion.errors import FeastFusionError, SchemaError
from tests.waiting import wait_until

Tell = Callable[[int], None]


def count_to(n: int, tell: Tell) -> str:
    for number in range(n):
        tell(number)
    return f"counted to {n}"


def make_tensors(n: int, tell: Tell) -> list[torch.Tensor]:
    return [torch.full((1000,), float(number)) for number in range(n)]


def complain(tell: Tell) -> None:
    raise SchemaError("got a complaint, expected none")


def vanish(tell: Tell) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sleep_for_ever(note: str, tell: Tell) -> None:
    Path(note).write_text(str(os.getpid()))
    while True:
        time.sleep(60)


def is_alive(note: Path) -> bool:
    try:
        os.kill(int(note.read_text()), 0)
    except ProcessLookupError:
        return False
    return True


def test_what_is_told_is_heard_before_the_result() -> None:
    heard: list[int] = []
    with beside(count_to, 3) as counting:
        assert counting(heard.append) == "counted to 3"
    assert heard == [0, 1, 2]


def test_tensors_outlive_the_process_that_made_them() -> None:
    with beside(make_tensors, 50) as making:
        found = making(print)
    assert [float(each.mean()) for each in found] == list(range(50))


def test_what_it_raises_is_raised_by_the_wait() -> None:
    with (
        pytest.raises(SchemaError, match="got a complaint"),
        beside(complain) as complaining,
    ):
        complaining(print)


def test_a_process_that_was_killed_is_an_error_with_a_remedy() -> None:
    with (
        pytest.raises(FeastFusionError, match=r"exit code -9.*Run the command again"),
        beside(vanish) as vanishing,
    ):
        vanishing(print)


def test_leaving_the_block_ends_it(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with beside(sleep_for_ever, str(note)):
        wait_until(lambda: note.is_file() and note.read_text() != "", "its process id")
        assert is_alive(note)
    assert not is_alive(note)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_end_of_the_first_process_ends_it(tmp_path: Path, how: signal.Signals) -> None:
    note = tmp_path / "pid"
    program = (
        "from cli.beside import beside\n"
        "from tests.cli.test_beside import sleep_for_ever\n"
        "if __name__ == '__main__':\n"
        f"    with beside(sleep_for_ever, {str(note)!r}) as sleeping:\n"
        "        sleeping(print)\n"
    )
    script = tmp_path / "program.py"
    script.write_text(program)
    where = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    first = subprocess.Popen([sys.executable, str(script)], env=where)
    wait_until(lambda: note.is_file() and note.read_text() != "", "its process id")
    first.send_signal(how)
    assert first.wait() == -how
    wait_until(lambda: not is_alive(note), "the end of the other process")
