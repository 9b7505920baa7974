"""All contenders on the same queries: ours and the baselines, fitted and asked one by one."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from evaluation.baselines import BASELINES, POPULARITY, REPEATS, Fit
from evaluation.comparison import compare
from evaluation.protocol import Part, Queries, Ranked, Recommends, next_positives, rank_by_scores
from evaluation.report.document import NextPositive
from intake.split_settings import BY_TIME, SplitConfig
from transformations.collaborative.histories import Events

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Contest:
    """The section of the report, and the ranks of the first contender, of the schema `RANKS`."""

    section: NextPositive
    ranks: pa.Table


def hold_contest(
    events: Events,
    ours: Mapping[str, Recommends],
    *,
    part: Part = "test",
    repeats: bool = False,
    all_baselines: bool = False,
    limit: int | None = None,
    seed: int = 0,
    how: SplitConfig = BY_TIME,
    progress: Progress = lambda what, done, total: None,
) -> Contest:
    """Ours and popularity, or all baselines, on the positives of a part.

    Parameters
    ----------
    limit : of the queries; None for all of them
    progress : called with what is asked next, how many were asked, and of how many
    """
    queries = next_positives(events, part, limit=limit, seed=seed, repeats=repeats, how=how)
    fits = contestants(all_baselines, repeats)
    n = len(ours) + len(fits)
    answers: dict[str, Ranked] = {}
    fit_s: dict[str, float] = {}
    for name, recommend in ours.items():
        progress(name, len(answers), n)
        answers[name] = recommend(queries)
    for name, fit in fits.items():
        progress(name, len(answers), n)
        answers[name], fit_s[name] = _answer(queries, fit, seed)
    progress("measures", n, n)
    section = compare(
        queries,
        part,
        {name: answers[name] for name in ours},
        {name: answers[name] for name in fits},
        fit_s,
    )
    return Contest(section, next(iter(answers.values())).table(queries))


def contestants(all_baselines: bool, repeats: bool) -> dict[str, Fit]:
    """The baselines by name; what needs repeats only where there are some."""
    if not all_baselines:
        return {POPULARITY: BASELINES[POPULARITY]}
    return BASELINES | REPEATS if repeats else BASELINES


def _answer(queries: Queries, fit: Fit, seed: int) -> tuple[Ranked, float]:
    started = time.process_time()
    score = fit(queries.log, queries.n_fitted, seed)
    took = time.process_time() - started
    return rank_by_scores(queries, score), took
