"""Whoever writes to the log, and however: one JSON object a line, and nothing that was asked."""

import asyncio
import json
import logging
import subprocess
import sys
from typing import Any

from serving.http.json_lines import JsonLines
from serving.http.request_ids import name_request, request_id
from serving.http.work_queue import WorkQueue

SCRIPT = """
import gc, logging, threading, warnings
from serving.http.json_lines import log_json_lines

library = logging.getLogger("a.library")
library.addHandler(logging.StreamHandler())
library.propagate = False
log_json_lines()
loud = logging.getLogger("loud.library")
loud.setLevel(logging.DEBUG)
loud.debug("Building index from IDs")
loud.info("of its developers")
library.warning("a warning\\nin two lines")
warnings.warn("a deprecation", UserWarning)

def fail():
    raise ValueError("private")

class Failing:
    def __del__(self):
        fail()

failing = threading.Thread(target=fail, name="worker")
failing.start()
failing.join()
Failing()
gc.collect()
try:
    fail()
except ValueError as error:
    library.exception("it failed\\nfor %s", error)
"""


def test_libraries_threads_and_warnings_write_json() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["logger"] for line in lines] == [
        "a.library",
        "py.warnings",
        "serving.http.json_lines",
        "serving.http.json_lines",
        "a.library",
    ]
    assert "private" not in done.stderr
    assert [line.get("error") for line in lines] == [None, None, *["ValueError"] * 3]
    assert all(line["where"][-1].endswith("fail") for line in lines[2:])
    assert [line["message"] for line in (lines[0], lines[-1])] == [
        "a warning\nin two lines",
        "it failed",
    ]


def test_a_thread_that_works_for_a_request_logs_under_its_name() -> None:
    queue = WorkQueue("test", 1)

    def say() -> dict[str, Any]:
        record = logging.LogRecord("x", logging.INFO, "x.py", 1, "said", (), None)
        return dict(json.loads(JsonLines().format(record)))

    async def ask(name: bytes) -> dict[str, Any]:
        name_request([(b"x-request-id", name)])
        return await queue.run(60, say)

    async def both() -> list[dict[str, Any]]:
        return await asyncio.gather(ask(b"cart-1"), ask(b"cart-2"))

    assert [line["request_id"] for line in asyncio.run(both())] == ["cart-1", "cart-2"]
    assert "request_id" not in say()
    assert request_id.get() == ""
    queue.close()
