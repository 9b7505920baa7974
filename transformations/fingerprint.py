"""Whether prepared sources still fit what they were made from."""

import hashlib
import json
from pathlib import Path

import pyarrow as pa

from intake.dataset import Dataset

# Raise it whenever the same inputs would give other sources than before.
SOURCES_VERSION = 5
_OF_CANDIDATES = {"refit_every", "history"}
_SECTIONS = ("items", "users", "interactions", "activity")


def fingerprint_inputs(dataset: Dataset, journal: pa.Table) -> str:
    """SHA-256 of all that decides the sources: files, journal, their description, the code."""
    sections = dataset.model_dump(
        mode="json",
        include=dict.fromkeys(_SECTIONS, True) | {"candidates": _OF_CANDIDATES},
    )
    digests = {
        str(section.path): _digest(section.path)
        for section in (dataset.items, dataset.users, dataset.interactions)
        if section is not None
    }
    if journal:
        digests["events"] = _digest_rows(journal)
    text = json.dumps([SOURCES_VERSION, sections, digests], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(path: Path) -> str | None:
    if not path.is_file():
        return None  # validation says what is wrong with it
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_rows(table: pa.Table) -> str:
    rows = table.combine_chunks()
    buffer = pa.BufferOutputStream()
    with pa.ipc.new_stream(buffer, rows.schema) as stream:
        stream.write_table(rows)
    return hashlib.sha256(buffer.getvalue()).hexdigest()
