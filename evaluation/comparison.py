"""Recommenders beside each other on the same queries, as one section of the report."""

from collections.abc import Mapping

import numpy as np

from evaluation.measures import (
    gains,
    measure,
    n_distinct,
    n_distinct_of_visitors,
    novelty,
    ratio_by_user,
    recall_at,
)
from evaluation.protocol import Part, Queries, Ranked, Tied
from evaluation.report.document import Bounds, Contender, Kind, NextPositive, Ratio, Slice
from evaluation.slices import slices

_CHOOSING = "ndcg@10"


def compare(
    queries: Queries,
    part: Part,
    ours: Mapping[str, Ranked],
    baselines: Mapping[str, Ranked],
    fit_s: Mapping[str, float] | None = None,
) -> NextPositive:
    """Every contender on the queries; the first of `ours` is set against the best baseline.

    Parameters
    ----------
    ours, baselines : what each answered, by its name
    fit_s : seconds of processor time that fitting took, by name
    """
    every = {**ours, **baselines}
    took = fit_s or {}
    return NextPositive(
        part=part,
        repeats=queries.repeats,
        n_queries=len(queries),
        n_users=len(np.unique(queries.user)),
        n_items=len(queries.events.items),
        n_fitted=queries.n_fitted,
        contenders=[
            _contender(name, "ours" if name in ours else "baseline", queries, ranked, took)
            for name, ranked in every.items()
        ],
        ratio=_ratio(queries, ours, baselines),
        sources={
            source: recall_at(places)
            for ranked in ours.values()
            for source, places in ranked.sources.items()
        },
        slices=measure_slices(queries, every),
    )


def _contender(
    name: str, kind: Kind, queries: Queries, ranked: Ranked, fit_s: Mapping[str, float]
) -> Contender:
    found = measure(queries, ranked)
    return Contender(
        name=name,
        kind=kind,
        ndcg=Bounds.of(found["ndcg@10"]),
        hit_rate=Bounds.of(found["hr@10"]),
        reciprocal_rank=Bounds.of(found["mrr"]),
        recall=recall_at(Tied(ranked.candidate, ranked.candidate)) if len(queries) else {},
        distinct=n_distinct(ranked),
        distinct_60=n_distinct_of_visitors(queries, ranked),
        novelty=novelty(queries, ranked),
        fit_s=fit_s.get(name),
    )


def _ratio(
    queries: Queries, ours: Mapping[str, Ranked], baselines: Mapping[str, Ranked]
) -> Ratio | None:
    if not ours or not baselines or not len(queries):
        return None
    found = {name: gains(ranked.rank)[_CHOOSING] for name, ranked in baselines.items()}
    best = max(found, key=lambda name: float(found[name].mean()))
    name, ranked = next(iter(ours.items()))
    interval = ratio_by_user(queries.user, gains(ranked.rank)[_CHOOSING], found[best])
    return Ratio(ours=name, best_baseline=best, ratio=Bounds.of(interval))


def measure_slices(queries: Queries, every: Mapping[str, Ranked]) -> list[Slice]:
    """NDCG@10 of each contender, by how much is known of the item and of the user."""
    found = {name: gains(ranked.rank)[_CHOOSING] for name, ranked in every.items()}
    return [
        Slice(
            by=by,
            label=label,
            n_queries=int(inside.sum()),
            ndcg={name: float(values[inside].mean()) for name, values in found.items()},
        )
        for by, label, inside in slices(queries)
    ]
