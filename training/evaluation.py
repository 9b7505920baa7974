"""How well a ranker orders the test rows, beside the baselines it has to beat."""

from dataclasses import dataclass
from typing import Any

from feast_fusion.training_set import TrainingSet
from training.baselines import boosted_trees_scores, popularity_scores
from training.metrics import evaluate_scores
from training.ranker.artifact import Artifact
from training.split import split_by_time


@dataclass(frozen=True)
class Evaluation:
    """Metrics by model, then by the metric's name; all models scored the same rows."""

    n_rows: int
    metrics: dict[str, dict[str, float]]

    def to_dict(self) -> dict[str, Any]:
        """For programs: `test_rows`, and the metrics of each model under its name."""
        return {"test_rows": self.n_rows, **self.metrics}

    def lines(self) -> list[str]:
        """For people: a table of the metrics, one line per model."""
        names = list(self.metrics["ranker"])
        return [
            f"{self.n_rows:,} test rows",
            f"{'':14}" + "".join(f"{name:>12}" for name in names),
            *(
                f"{model:14}" + "".join(f"{found[name]:>12.4f}" for name in names)
                for model, found in self.metrics.items()
            ),
        ]


def evaluate_ranker(training_set: TrainingSet, artifact: Artifact) -> Evaluation:
    """The ranker, boosted trees and popularity on the test rows of `split_by_time`."""
    split = split_by_time(training_set.table)
    test = training_set.take(split.test)
    scores = {
        "ranker": artifact.score(test),
        "boosted trees": boosted_trees_scores(training_set.take(split.past), test),
        "popularity": popularity_scores(test),
    }
    metrics = {model: evaluate_scores(test.table, found) for model, found in scores.items()}
    return Evaluation(len(test), metrics)
