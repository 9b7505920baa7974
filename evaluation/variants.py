"""What each part of the recipe is worth, and what more events would bring."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from evaluation.baselines import Fit
from evaluation.cold_items import SEEDS
from evaluation.measures import Gains, difference_by_user, gains
from evaluation.protocol import Part, Queries, Recommends, rank_by_scores
from evaluation.recipe import (
    Change,
    Recipe,
    newest_events,
    sequence_settings,
    settings,
    without_text,
)
from evaluation.report.document import Ablation, Ablations, Bounds, Curve, Point
from transformations.collaborative.histories import Events, take_events

Progress = Callable[[str, int, int], None]

VARIANTS: dict[str, Change] = {
    "without text": without_text,
    "ten newest events of a user": newest_events(10),
    "item models at doublings only": settings(refit_every=1_000_000_000),
    "item ids never left out": sequence_settings(forget=0.0),
    "no dropout": sequence_settings(dropout=0.0),
    "not liked events are no targets": sequence_settings(disliked=0.0),
}
WITHOUT_CHOOSER = "without the chooser"
SHARES = (0.125, 0.25, 0.5, 1.0)


def measure_ablations(
    recipe: Recipe,
    queries: Queries,
    part: Part,
    *,
    variants: Mapping[str, Change] = VARIANTS,
    seeds: Sequence[int] = SEEDS,
    progress: Progress = lambda what, done, total: None,
) -> Ablations:
    """Every variant and the recipe, fitted once a seed to the rows before the part."""
    found: dict[str, list[Gains]] = {"": [], WITHOUT_CHOOSER: []}
    changes = {"": lambda same: same, **variants}
    done, total = 0, len(seeds) * len(changes)
    for name, change in changes.items():
        for seed in seeds:
            progress(name or "recipe", done, total)
            ranks = change(recipe).fit(queries.events, queries.n_fitted, seed)
            found.setdefault(name, []).append(_ndcg(ranks, queries))
            if not name:
                found[WITHOUT_CHOOSER].append(_ndcg(replace(ranks, choose=False), queries))
            done += 1
    base = found.pop("")
    return Ablations(
        part=part,
        recipe=[float(each.mean()) for each in base],
        variants=[_ablation(name, queries, by_seed, base) for name, by_seed in found.items()],
    )


def _ablation(name: str, queries: Queries, by_seed: list[Gains], base: list[Gains]) -> Ablation:
    ours, other = np.mean(by_seed, axis=0), np.mean(base, axis=0)
    difference = difference_by_user(queries.user, ours, other)
    ndcg = [float(each.mean()) for each in by_seed]
    return Ablation(name=name, ndcg=ndcg, difference=Bounds.of(difference))


def measure_learning(
    recipe: Recipe,
    ours: str,
    baselines: Mapping[str, Fit],
    queries: Queries,
    *,
    shares: Sequence[float] = SHARES,
    seed: int = 0,
    progress: Progress = lambda what, done, total: None,
) -> list[Curve]:
    """NDCG@10 of models of the newest share of the events before the part, on the same queries."""
    points: dict[str, list[Point]] = {name: [] for name in (ours, *baselines)}
    for at, share in enumerate(shares):
        progress(f"{share:.0%} of the events", at, len(shares))
        n_rows = int(share * queries.n_fitted)
        fewer = _newest(queries.events, queries.n_fitted - n_rows)
        recommends: dict[str, Recommends] = {ours: recipe.fit(fewer, n_rows, seed)}
        for name, fit in baselines.items():
            score = fit(fewer, n_rows, seed)
            recommends[name] = partial(rank_by_scores, score=score)
        for name, recommend in recommends.items():
            points[name].append(Point(x=n_rows, y=float(_ndcg(recommend, queries).mean())))
    return [Curve(name=name, points=found) for name, found in points.items()]


def _newest(events: Events, start: int) -> Events:
    return take_events(events, np.arange(start, len(events)))


def _ndcg(recommend: Recommends, queries: Queries) -> Gains:
    return gains(recommend(queries).rank)["ndcg@10"]
