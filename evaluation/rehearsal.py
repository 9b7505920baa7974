"""A version of the model beside the one that is served: what both would have answered.

Both are asked, as of the instant of each choice since a time, from history alone; the choice itself
tells which answered better. So a version is tried on real choices before anyone sees it.
"""

import time
from collections.abc import Mapping
from typing import Literal

import numpy as np
from feast import FeatureStore

from evaluation.comparison import measure_slices
from evaluation.encoder_cost import EncoderCost
from evaluation.measures import difference_by_user, gains, measure
from evaluation.past import PastRanks
from evaluation.protocol import Queries, Ranked, positives_since
from evaluation.report.document import Bounds, Section, Slice
from feast_fusion.errors import FeatureNotFoundError, schema_error
from feast_fusion.times import from_micros
from intake.workspace import Workspace
from serving.past import PastRecommender
from training.model_versions import ModelVersions
from training.next_item.fit_log import StoredLog
from training.ranker.artifact import Artifact

Verdict = Literal["better", "worse", "no difference shown"]


class Rehearsed(Section):
    """One version on the choices; ms: of an answer, without the network."""

    version: str
    ndcg: Bounds
    hit_rate: Bounds
    reciprocal_rank: Bounds
    ms: float


class Rehearsal(Section):
    """Both versions on the same choices.

    differences: candidate less serving, by measure; higher and lower: shares of the choices that
    stand higher, or lower, with the candidate; in_common: mean share of the first ten; encoders:
    where they were asked for, of the candidate and of the one that serves.
    """

    since: str
    n_queries: int
    n_users: int
    candidate: Rehearsed
    serving: Rehearsed
    differences: dict[str, Bounds]
    verdict: Verdict
    higher: float
    lower: float
    in_common: float
    slices: list[Slice]
    encoders: tuple[EncoderCost, ...] = ()


def rehearse(
    workspace: Workspace,
    store: FeatureStore,
    candidate: str,
    serving: str,
    *,
    since: int | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Rehearsal:
    """What both versions answer to the choices since an instant, and which does better.

    Of each version that artifact is asked which was fitted to the most, and to nothing of the
    choices. The verdict is by NDCG@10: its 95 % interval lies above, or below, zero.

    Parameters
    ----------
    candidate, serving : names of the two versions
    since : microseconds; None for the first instant that no artifact before the test has seen
    limit : at most this many choices, drawn by `seed`; None for all

    Raises
    ------
    SchemaError
        An artifact was fitted to choices since then.
    FeatureNotFoundError
        Nobody has chosen anything since then.
    """
    versions = ModelVersions(workspace)
    if since is None:
        since = 1 + max(
            versions.load_before_test(name).require_next_item().fitted_until
            for name in (candidate, serving)
        )
    artifacts = {name: _fitted_before(versions, name, since) for name in (candidate, serving)}
    repeats = workspace.dataset.candidates.repeats
    events = StoredLog(workspace, store).events
    queries = positives_since(events, since, limit=limit, seed=seed, repeats=repeats)
    if not len(queries):
        raise FeatureNotFoundError(
            f"choices since {from_micros(since)}: got none, expected some to rehearse with. Give "
            "an earlier --since, or run feast-fusion refresh, which folds live events in."
        )
    answers, ms = {}, {}
    for name, artifact in artifacts.items():
        began = time.perf_counter()
        ranks = PastRanks(PastRecommender(workspace, store, artifact))
        answers[name] = ranks(queries)
        ms[name] = (time.perf_counter() - began) * 1000 / len(queries)
    return _compared(queries, (candidate, serving), answers, ms, since)


def _fitted_before(versions: ModelVersions, name: str, since: int) -> Artifact:
    """The artifact of a version that knows the most and nothing from `since` on."""
    for load in (versions.load, versions.load_before_test):
        artifact = load(name)
        if artifact.require_next_item().fitted_until < since:
            return artifact
    until = from_micros(artifact.require_next_item().fitted_until)
    raise schema_error(
        f"model {name}",
        got=f"one that was fitted to events until {until}",
        expected=f"nothing from {from_micros(since)} on, or it would know what is asked",
        remedy="Give a later --since.",
    )


def _compared(
    queries: Queries,
    names: tuple[str, str],
    answers: Mapping[str, Ranked],
    ms: Mapping[str, float],
    since: int,
) -> Rehearsal:
    ours, other = answers[names[0]], answers[names[1]]
    found = gains(ours.rank), gains(other.rank)
    differences = {
        name: difference_by_user(queries.user, found[0][name], found[1][name]) for name in found[0]
    }
    chosen = differences["ndcg@10"]
    verdict: Verdict = "no difference shown"
    if chosen.low > 0 or chosen.high < 0:
        verdict = "better" if chosen.low > 0 else "worse"
    places = [np.where(each.rank > 0, each.rank, np.iinfo(np.int64).max) for each in (ours, other)]
    return Rehearsal(
        since=from_micros(since).isoformat(),
        n_queries=len(queries),
        n_users=len(np.unique(queries.user)),
        candidate=_rehearsed(names[0], queries, ours, ms),
        serving=_rehearsed(names[1], queries, other, ms),
        differences={name: Bounds.of(interval) for name, interval in differences.items()},
        verdict=verdict,
        higher=float(np.mean(places[0] < places[1])),
        lower=float(np.mean(places[0] > places[1])),
        in_common=_in_common(ours, other),
        slices=measure_slices(queries, {"candidate": ours, "serving": other}),
    )


def _rehearsed(name: str, queries: Queries, ranked: Ranked, ms: Mapping[str, float]) -> Rehearsed:
    found = {measured: Bounds.of(of) for measured, of in measure(queries, ranked).items()}
    return Rehearsed(
        version=name,
        ndcg=found["ndcg@10"],
        hit_rate=found["hr@10"],
        reciprocal_rank=found["mrr"],
        ms=ms[name],
    )


def _in_common(ours: Ranked, other: Ranked) -> float:
    """Mean share of the first ten of `ours` that are among the first ten of `other`."""
    given = ours.top >= 0
    shared = (ours.top[:, :, None] == other.top[:, None, :]).any(axis=2) & given
    return float(np.mean(shared.sum(axis=1) / np.maximum(given.sum(axis=1), 1)))
