"""What the ranker has to beat: popularity, and boosted trees on the scalar columns."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from feast_fusion.column_names import feature_column, split_column
from feast_fusion.training_set import TrainingSet
from training.ranker.columns import Floats, epoch_seconds, number
from transformations.names import ITEM_STATS


def popularity_scores(rows: TrainingSet) -> Floats:
    """(n,) how many positives the item had by then, 0 where none.

    Raises
    ------
    SchemaError
        The rows have no count of positives per item.
    """
    return np.nan_to_num(number(rows, feature_column(ITEM_STATS, "n_positive"))).astype(np.float32)


def boosted_trees_scores(train: TrainingSet, test: TrainingSet, *, seed: int = 0) -> Floats:
    """(n_test,) probabilities of gradient-boosted trees fitted to the numeric columns of `train`.

    Epoch seconds become ages at the row's time; nothing is imputed, trees split on absence.
    """
    trees = HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=250,
        max_leaf_nodes=15,
        min_samples_leaf=50,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=seed,
    )
    known = _columns(train)
    used = np.isfinite(known).any(axis=0)  # not a column without any value
    trees.fit(known[:, used], number(train, "label") > 0)
    probabilities: Floats = trees.predict_proba(_columns(test)[:, used])[:, 1].astype(np.float32)
    return probabilities


def _columns(rows: TrainingSet) -> NDArray[np.float64]:
    """(n, c) the numeric feature columns in the order of the table, NaN where null."""
    now = epoch_seconds(rows)
    columns = []
    for field in rows.table.schema:
        is_number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        if not split_column(field.name)[1] or not is_number:
            continue
        values = number(rows, field.name)
        is_instant = field.name.endswith("_event_s")
        columns.append(now - values if is_instant else values)
    return np.stack(columns, axis=1) if columns else np.zeros((len(rows), 1))
