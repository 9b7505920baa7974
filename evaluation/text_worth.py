"""What the text vectors are worth: the same models fitted again without them, on the test part."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from evaluation.cold_items import SEEDS, ColdQueries, hold_out, ranks_of
from evaluation.cold_model import ColdModel
from evaluation.measures import Gains, auc_difference_by_user, difference_by_user
from evaluation.recipe import Recipe, without_text
from evaluation.report.document import Bounds, Figure, Worth
from feast_fusion.training_set import TrainingSet
from intake.dataset import Dataset
from intake.split_settings import BY_TIME, SplitConfig
from training.metrics import auc
from training.ranker.columns import Floats, number
from training.split import split_rows
from training.trainer import refit, train
from transformations.collaborative.histories import Events
from transformations.id_map import IdMap
from transformations.names import SERVICE

Progress = Callable[[str, int, int], None]

COLD_DEPTH = 50


def measure_liked_by_text(
    training_set: TrainingSet,
    dataset: Dataset,
    *,
    seeds: Sequence[int] = SEEDS,
    progress: Progress = lambda what, done, total: None,
) -> Worth:
    """AUC on the test rows of rankers that read text, and of rankers that never did.

    The difference is of the mean probabilities over seeds.
    """
    test = training_set.take(split_rows(training_set.table, dataset.split).test)
    labels, scores = number(test, "label"), dict[bool, list[Floats]]()
    for done, seed in enumerate(seeds):
        progress("ranker without text", done, len(seeds))
        for text in (True, False):
            scores.setdefault(text, []).append(_score(training_set, test, dataset, text, seed))
    users = IdMap.of(test.table["user_id"]).codes(test.table["user_id"])
    ours, other = (np.mean(scores[text], axis=0) for text in (True, False))
    return Worth(
        measure="AUC, liked or not",
        n_rows=len(test),
        having=[auc(labels, found) for found in scores[True]],
        lacking=[auc(labels, found) for found in scores[False]],
        difference=Bounds.of(auc_difference_by_user(users, labels > 0, ours, other)),
    )


def measure_found_by_text(
    recipe: Recipe,
    events: Events,
    *,
    depth: int = COLD_DEPTH,
    seeds: Sequence[int] = SEEDS,
    how: SplitConfig = BY_TIME,
    progress: Progress = lambda what, done, total: None,
) -> Worth:
    """Recall@50 among items held out of all training, see `evaluation.cold_items`.

    A seed draws the items and fits the models; the difference is of all choices of all seeds.
    """
    users: list[np.ndarray] = []
    ours: list[Gains] = []
    other: list[Gains] = []
    for done, seed in enumerate(seeds):
        progress("cold items without text", done, len(seeds))
        queries = hold_out(events, seed, how=how)
        users.append(queries.user)
        ours.append(_found(queries, recipe, depth, seed))
        other.append(_found(queries, without_text(recipe), depth, seed))
    difference = difference_by_user(
        np.concatenate(users), np.concatenate(ours), np.concatenate(other)
    )
    return Worth(
        measure=f"recall@{depth}, items that nobody knows yet",
        n_rows=sum(map(len, users)),
        having=_means(ours),
        lacking=_means(other),
        difference=Bounds.of(difference),
    )


def _score(
    training_set: TrainingSet, test: TrainingSet, dataset: Dataset, text: bool, seed: int
) -> Floats:
    """(n,) probabilities of the test rows by the recipe of `feast-fusion train`."""
    modalities = tuple(each for each in dataset.ranker.modalities if text or each != "text")
    config = dataset.ranker.model_copy(update={"modalities": modalities})
    result = train(training_set, dataset, config, service=SERVICE, encoder_id=None, seed=seed)
    past = split_rows(training_set.table, dataset.split).past
    return refit(result, training_set, past, dataset, seed=seed).score(test)


def _found(queries: ColdQueries, recipe: Recipe, depth: int, seed: int) -> Gains:
    """(q,) 1 where the chosen item is among the first `depth` of the held-out ones, else 0."""
    found: Gains = (ranks_of(queries, ColdModel(recipe, seed)(queries)) <= depth).astype(float)
    return found


def _means(by_seed: Iterable[Gains]) -> list[Figure]:
    return [float(found.mean()) if len(found) else float("nan") for found in by_seed]
