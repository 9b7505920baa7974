"""Whether prepared sources still fit what they were made from."""

import hashlib
import json
from collections.abc import Collection, Mapping

import pyarrow as pa

from intake.dataset import Dataset
from intake.preparation import DESCRIBING
from intake.tables.digest import digest_rows

# Raise it whenever the same inputs would give other sources than before.
SOURCES_VERSION = 6
_OF_CANDIDATES = {"refit_every", "history"}


def fingerprint_inputs(
    dataset: Dataset,
    tables: Mapping[str, str | None],
    journal: pa.Table,
    posted: pa.Table,
    forgotten: Collection[str] = (),
) -> str:
    """SHA-256 of all that decides the sources: files, journals, their description, the code.

    Parameters
    ----------
    tables : SHA-256 of the content of each table
    forgotten : digests of the users who are left out
    """
    sections = dataset.model_dump(
        mode="json",
        include=dict.fromkeys(DESCRIBING, True) | {"candidates": _OF_CANDIDATES},
    )
    digests = dict(tables)
    for name, rows in (("events", journal), ("posted", posted)):
        if rows:
            digests[name] = digest_rows(rows)
    if forgotten:
        digests["forgotten"] = " ".join(sorted(forgotten))
    text = json.dumps([SOURCES_VERSION, sections, digests], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
