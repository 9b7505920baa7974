"""Boosted trees on the ranker's own features, with and without text (library `lightgbm`)."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from feast_fusion.column_names import split_column
from feast_fusion.errors import extra_required
from feast_fusion.training_set import Indexed, TrainingSet
from training.ranker.columns import Floats, Numbers, epoch_seconds, number

_COMPONENTS = 16
_ROUNDS = 400
_SETTINGS = {
    "objective": "binary",
    "learning_rate": 0.03,
    "num_leaves": 15,
    "min_child_samples": 50,
    "lambda_l2": 1.0,
    "feature_fraction": 0.7,
    "num_threads": 1,
    "deterministic": True,
    "verbosity": -1,
}


def boosted_trees_scores(
    train: TrainingSet, test: TrainingSet, *, text: bool, seed: int = 0
) -> Floats:
    """(n_test,) probabilities of gradient-boosted trees fitted to `train`.

    They read each numeric column, epoch seconds as ages at the row's time; nothing is imputed.

    Parameters
    ----------
    text : whether they also read the vectors: the first principal components of each feature, and
        the cosine of each two features
    """
    with extra_required("report"):
        import torch  # noqa: F401  it brings libgomp, which not every system has
        from lightgbm import Dataset
        from lightgbm import train as fit

    directions = _directions(train) if text else {}
    known, asked = (np.hstack([_numbers(rows), _text(rows, directions)]) for rows in (train, test))
    data = Dataset(known, label=number(train, "label") > 0, free_raw_data=True)
    trees = fit(_SETTINGS | {"seed": seed}, data, num_boost_round=_ROUNDS)
    found: Floats = np.asarray(trees.predict(asked)).astype(np.float32)
    return found


def _numbers(rows: TrainingSet) -> Numbers:
    """(n, c) the numeric feature columns in the order of the table, NaN where null."""
    now, columns = epoch_seconds(rows), [np.zeros(len(rows))]  # a table without a number has one
    for field in rows.table.schema:
        is_number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        if not split_column(field.name)[1] or not is_number:
            continue
        values = number(rows, field.name)
        columns.append(now - values if field.name.endswith("_event_s") else values)
    return np.stack(columns, axis=1)


def _directions(rows: TrainingSet) -> dict[str, NDArray[np.float32]]:
    """(d, k) the first principal directions of the distinct vectors of each feature."""
    found = {}
    for name, column in rows.vectors.items():
        values = column.values[np.unique(column.index[column.present])]
        if not len(values):
            continue
        _, directions = np.linalg.eigh(np.cov(values, rowvar=False))
        found[name] = directions[:, ::-1][:, :_COMPONENTS].astype(np.float32)
    return found


def _text(rows: TrainingSet, directions: dict[str, NDArray[np.float32]]) -> Numbers:
    """(n, c) components of each vector feature, then cosines of pairs; NaN where one is absent."""
    columns = [_taken(rows.vectors[name], found) for name, found in directions.items()]
    names = list(directions)
    for at, one in enumerate(names):
        columns += [_cosines(rows.vectors[one], rows.vectors[two]) for two in names[at + 1 :]]
    return np.hstack([np.zeros((len(rows), 0)), *columns])


def _taken(column: Indexed, directions: NDArray[np.float32]) -> Numbers:
    found = (column.values @ directions)[column.index].astype(np.float64)
    found[~column.present] = np.nan
    return found


def _cosines(one: Indexed, two: Indexed) -> Numbers:
    both = np.flatnonzero(one.present & two.present)
    found = np.full((len(one), 1), np.nan)
    for rows in np.array_split(both, len(both) // 4096 + 1):
        a, b = one.values[one.index[rows]], two.values[two.index[rows]]
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        found[rows, 0] = (a * b).sum(axis=1) / np.maximum(lengths, 1e-12)
    return found
