"""Rows of a person that `feast-fusion ingest` could not use, in the file of its rejects."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from forgetting.case import Case, Surroundings


def erase(case: Case) -> int:
    """Overwrite lines by spaces, for an ingest may append meanwhile; how many."""
    n_erased = 0
    for path in _files(case.place):
        gone = [line for line in _lines(path) if line[2].get("user_id") in case.people]
        with path.open("r+b") as file:
            for start, n_bytes, _ in gone:
                os.pwrite(file.fileno(), b" " * (n_bytes - 1), start)
            os.fsync(file.fileno())
        n_erased += len(gone)
    return n_erased


def read(place: Surroundings, user_id: str) -> Iterator[tuple[str, pa.Table]]:
    """The rows, as they were ingested."""
    found = [row for path in _files(place) for *_, row in _lines(path)]
    theirs = [json.dumps(row, ensure_ascii=False) for row in found if row.get("user_id") == user_id]
    yield "rejected", pa.table({"row": pa.array(theirs, pa.string())})


def _files(place: Surroundings) -> list[Path]:
    return sorted(place.workspace.ingested.glob("rejects.jsonl"))


def _lines(path: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Start and length of each line, and its row, whose user is a string."""
    start = 0
    with path.open("rb") as file:
        for line in file:
            if not line.isspace() and line.endswith(b"\n"):
                row = json.loads(line)["row"]
                if isinstance(row, dict):
                    yield start, len(line), {**row, "user_id": str(row.get("user_id"))}
            start += len(line)
