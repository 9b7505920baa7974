"""Whether a user likes an item they met: the ranker on the test rows, beside its baselines."""

import numpy as np

from evaluation.report.document import Bin, Figure, Pointwise
from evaluation.report.words import shared_categories
from feast_fusion.column_names import feature_column
from feast_fusion.training_set import TrainingSet
from intake.split_settings import BY_TIME, SplitConfig
from training.metrics import evaluate_scores
from training.ranker.artifact import Artifact
from training.ranker.columns import Floats, number
from training.split import split_rows
from transformations.names import ITEM_STATS

OURS = "ranker"
_POPULARITY = "popularity"
_BINS = 10
# Measures of probabilities; the count of an item's positives is none.
_OF_PROBABILITIES = ("log_loss", "ece")


def evaluate_ranker(
    training_set: TrainingSet,
    artifact: Artifact,
    how: SplitConfig = BY_TIME,
    *,
    explicit: bool = True,
    trees: bool = False,
) -> Pointwise:
    """The ranker and popularity on the test rows of `[split]`.

    Parameters
    ----------
    how : as `[split]` has it, and as the artifact was trained
    explicit : whether the data set has events that are not positive; else such rows were drawn
    trees : also fit boosted trees, with and without text
    """
    split = split_rows(training_set.table, how)
    past, test = training_set.take(split.past), training_set.take(split.test)
    scores = {OURS: artifact.score(test), _POPULARITY: _popularity(test)}
    if trees:
        from evaluation.baselines.boosted_trees import boosted_trees_scores

        scores["LightGBM with text"] = boosted_trees_scores(past, test, text=True)
        scores["LightGBM without text"] = boosted_trees_scores(past, test, text=False)
    metrics: dict[str, dict[str, Figure]] = {
        model: {**evaluate_scores(test.table, found)} for model, found in scores.items()
    }
    for name in _OF_PROBABILITIES:
        metrics[_POPULARITY].pop(name, None)
    labels = number(test, "label") > 0
    reliability = {
        model: _bins(labels, found) for model, found in scores.items() if model != _POPULARITY
    }
    vocabularies = artifact.features.vocabularies
    return Pointwise(
        n_rows=len(test),
        metrics=metrics,
        reliability=reliability,
        explicit=explicit,
        shared_categories={name: known.shared for name, known in vocabularies.items()},
    )


def pointwise_lines(found: Pointwise) -> list[str]:
    """For people: a table of the metrics, one line per model; a dash where one is not defined."""
    names = list(found.metrics[OURS])
    lines = [f"{found.n_rows:,} test rows", f"{'':24}" + "".join(f"{name:>12}" for name in names)]
    for model, metrics in found.metrics.items():
        values = (metrics.get(name) for name in names)
        cells = (f"{'-':>12}" if value is None else f"{value:>12.4f}" for value in values)
        lines.append(f"{model:24}" + "".join(cells))
    return lines + shared_categories(found.shared_categories)


def _popularity(rows: TrainingSet) -> Floats:
    """(n,) how many positives the item had by then, 0 where none."""
    counts = number(rows, feature_column(ITEM_STATS, "item_n_positive"))
    return np.nan_to_num(counts).astype(np.float32)


def _bins(labels: np.ndarray, probabilities: Floats) -> list[Bin]:
    """Ten parts of [0, 1] of the same width; those without a row are left out."""
    part = np.minimum((probabilities * _BINS).astype(np.int64), _BINS - 1)
    return [
        Bin(
            predicted=float(probabilities[part == which].mean()),
            observed=float(labels[part == which].mean()),
            n_rows=int((part == which).sum()),
        )
        for which in np.unique(part).tolist()
    ]
