"""Rows of a person in training sets, of the main encoder's vectors and of candidates'."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feast_fusion.training_set import TrainingSet
from feast_fusion.training_set_files import MANIFEST
from forgetting.case import Case, Surroundings
from intake.workspace import Workspace


def erase(case: Case) -> int:
    """Write the sets anew without these people, and without vectors that only they had."""
    n_erased = 0
    for folder in _folders(case.workspace):
        found = TrainingSet.open(folder)
        is_theirs = case.is_theirs(found.table["user_id"])
        if is_theirs.any():
            found.take(np.flatnonzero(~is_theirs)).without_unused().save(folder)
            n_erased += int(is_theirs.sum())
    return n_erased


def read(place: Surroundings, user_id: str) -> Iterator[tuple[str, pa.Table]]:
    """The rows of a user, by set."""
    for folder in _folders(place.workspace):
        found = TrainingSet.open(folder)
        rows = np.flatnonzero(np.asarray(pc.equal(found.table["user_id"], user_id)))
        yield folder.name, found.take(rows).to_arrow()


def _folders(workspace: Workspace) -> list[Path]:
    candidates = sorted(workspace.training_set_of("any").parent.glob("[!.]*"))
    return [each for each in [workspace.training_set, *candidates] if (each / MANIFEST).is_file()]
