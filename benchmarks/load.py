"""A service with more clients than it can answer: how fast, how late, and how much of it degraded.

It needs the demo's workspace (`make demo`), or another that FUSION_DATASET and FUSION_HOME name.
Each client asks a real `feast-fusion serve` again as soon as it has its answer: nine of ten
requests are /recommend, the tenth /rank of a hundred items. A client that is refused waits for as
long as the answer says. First one process answers, then two at one port. There is no peer; before
and after are two runs.
"""

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.demo import measured_workspace
from benchmarks.http_load import served
from benchmarks.report import Case, compared, report
from intake.workspace import Workspace
from transformations.names import INTERACTIONS, ITEMS

CLIENTS = (8, 100, 500, 1_000)
PROCESSES = (1, 2)
DEADLINE_MS = 1_000.0
WARM_S, SECONDS, QUICK_SECONDS = 3.0, 20.0, 2.0
N_RANKED = 100
TARGETS = (f"p99.9 at most {DEADLINE_MS * 1.2:,.0f} ms, the deadline and a fifth",)


@dataclass
class Answers:
    """What the clients got while it was measured."""

    seconds: list[float] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


async def ask(port: int, requests: list[bytes], answers: Answers, begin: float, end: float) -> None:
    """One client, from one answer to the next request; counted from `begin` on."""
    reader = writer = None
    at = 0
    while (started := time.perf_counter()) < end:
        try:
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(requests[at % len(requests)])
            status, pause, body = await _read(reader)
            kind = "degraded" if b'"degraded":true' in body else str(status)
        except (OSError, asyncio.IncompleteReadError):
            kind, pause, writer = "connection lost", 0.1, None
        at += 1
        if started >= begin:
            answers.counts[kind] += 1
            if kind in ("degraded", "200"):
                answers.seconds.append(time.perf_counter() - started)
        if pause:
            await asyncio.sleep(pause)
    if writer is not None:
        writer.close()


async def _read(reader: asyncio.StreamReader | None) -> tuple[int, float, bytes]:
    """Status, seconds to wait before the next request, and body."""
    assert reader is not None
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    lines = dict(line.split(": ", 1) for line in head.splitlines()[1:] if line)
    body = await reader.readexactly(int(lines.get("content-length", 0)))
    return int(head.split(" ", 2)[1]), float(lines.get("retry-after", 0)), body


def requests_of(workspace: Workspace, seed: int) -> list[bytes]:
    """Fifty requests of random users, every tenth a /rank."""
    rng = np.random.default_rng(seed)
    users = pl.read_parquet(workspace.source(INTERACTIONS), columns=["user_id"])["user_id"].unique()
    items = pl.read_parquet(workspace.source(ITEMS), columns=["item_id"])["item_id"].unique()
    made = []
    for at in range(50):
        body: dict[str, Any] = {"user_id": users[int(rng.integers(len(users)))]}
        path = "/recommend"
        if at % 10 == 9:
            path, chosen = "/rank", rng.permutation(len(items))[:N_RANKED]
            body["item_ids"] = [items[int(i)] for i in chosen]
        content = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        made.append(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
    return made


async def _together(port: int, requests: list[list[bytes]], seconds: float) -> Answers:
    answers, begin = Answers(), time.perf_counter() + WARM_S
    clients = (ask(port, each, answers, begin, begin + seconds) for each in requests)
    await asyncio.gather(*clients)
    return answers


def measure(port: int, workspace: Workspace, seconds: float, what: str) -> list[Case]:
    """Every number of clients, one after the other, at the service on `port`."""
    made = [requests_of(workspace, seed) for seed in range(100)]
    cases: list[Case] = []
    for n_clients in CLIENTS:
        requests = [made[i % len(made)][i % 50 :] or made[0] for i in range(n_clients)]
        answers = asyncio.run(_together(port, requests, seconds))
        n = answers.counts.total()
        name = f"{n_clients} clients, {what}"
        cases.append(
            compared(name, "answered", "answers/s", len(answers.seconds) / seconds, {}, {})
        )
        for quantile in (50, 99, 99.9):
            found = float(np.percentile(answers.seconds, quantile)) * 1e3
            floor = {"deadline": DEADLINE_MS}
            cases.append(compared(name, f"p{quantile:g}", "ms", found, {}, floor))
        for kind, count in sorted(answers.counts.items()):
            cases.append(compared(name, kind, "% of requests", 100 * count / n, {}, {}))
    return cases


def run(json_path: str | Path | None = None, quick: bool = False) -> dict[str, Any]:
    """Measure, print a table, and write the JSON where a path is given."""
    workspace = measured_workspace()
    cases = []
    for n_processes in PROCESSES:
        what = "1 process" if n_processes == 1 else f"{n_processes} processes"
        with served(workspace, n_processes) as port:
            cases += measure(port, workspace, QUICK_SECONDS if quick else SECONDS, what)
    return report("load", cases, TARGETS, json_path)
