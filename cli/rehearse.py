"""`feast-fusion rehearse`: a version of the model beside the one that answers, before it does."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from cli.feast_repository import open_store, require_run
from cli.redis import redis_of
from cli.terminal import result, say, then
from cli.workspace_options import with_workspace
from feast_fusion.times import to_micros
from intake.workspace import Workspace

if TYPE_CHECKING:
    from evaluation.rehearsal import Rehearsal

_MEASURES = {"ndcg@10": "ndcg", "hr@10": "hit_rate", "mrr": "reciprocal_rank"}


@click.command()
@click.option("--model", metavar="VERSION", help="Default: the version trained last.")
@click.option(
    "--encoder",
    metavar="NAME",
    help="A candidate of dataset.toml: makes it ready, and tries a version on its vectors.",
)
@click.option("--against", metavar="VERSION", help="Default: the version that most users have.")
@click.option(
    "--since",
    type=click.DateTime(),
    metavar="TIME",
    help="Choices from then on (UTC). Default: those that neither was fitted to before its test.",
)
@click.option(
    "--limit",
    default=2000,
    show_default=True,
    type=click.IntRange(1),
    help="At most so many choices, drawn at random.",
)
@with_workspace
def rehearse(
    workspace: Workspace,
    /,
    model: str | None,
    encoder: str | None,
    against: str | None,
    since: datetime | None,
    limit: int,
) -> None:
    """Ask two versions what they would have answered when users chose, and compare with the choice.

    Prepared events count, so feast-fusion refresh comes before it. Nobody sees an answer.

    With --encoder the vectors of a candidate encoder are computed and kept beside those that serve,
    and a version is trained on them, unless --model names one; what was done is not done again.
    """
    from training.model_versions import ModelVersions
    from training.promotions import Promotions

    require_run(workspace)
    versions, promotions = ModelVersions(workspace), Promotions(workspace)
    promotions.follow()
    serving = promotions.read().main if against is None else versions.find(against).name
    at = None if since is None else to_micros(since.replace(tzinfo=UTC))
    if encoder is None:
        candidate = (versions.newest() if model is None else versions.find(model)).name
        found = rehearsal_of(workspace, candidate, serving, since=at, limit=limit)
    else:
        found = _rehearsal_on(workspace, encoder, model, serving, since=at, limit=limit)
    result(**found.model_dump(mode="json"))
    say(*rehearsal_lines(found))
    then(f"Next: feast-fusion models promote {found.candidate.version}.")


def _rehearsal_on(
    workspace: Workspace,
    encoder: str,
    model: str | None,
    serving: str,
    *,
    since: int | None,
    limit: int,
) -> "Rehearsal":
    """A version on the vectors of a candidate encoder, which is made ready first."""
    from cli.candidate_encoder import candidate_id, make_ready, train_candidate
    from evaluation.encoder_cost import measure_encoder
    from feast_fusion.redis_matrix import online_store_of
    from training.model_versions import ModelVersions

    encoder_id, versions = candidate_id(workspace, encoder), ModelVersions(workspace)
    with redis_of(workspace) as redis:
        make_ready(workspace, redis, encoder_id)
        if model is None:
            candidate = train_candidate(workspace, encoder_id)
        else:
            candidate = versions.find(model).name
            versions.load(candidate).require_encoder(encoder_id)
        found = rehearsal_of(workspace, candidate, serving, since=since, limit=limit)
        store, beside = open_store(workspace, redis), versions.find(serving).encoder_id
        both = [encoder_id, *([beside] if beside is not None else [])]
        costs = tuple(measure_encoder(workspace, store, each) for each in both)
        online_store_of(store).disconnect()
    return found.model_copy(update={"encoders": costs})


def rehearsal_of(
    workspace: Workspace,
    candidate: str,
    serving: str,
    *,
    since: int | None = None,
    limit: int | None = None,
) -> "Rehearsal":
    """Both versions on the choices since an instant."""
    from evaluation.rehearsal import rehearse

    store = open_store(workspace)
    return rehearse(workspace, store, candidate, serving, since=since, limit=limit)


def rehearsal_lines(found: "Rehearsal") -> Iterator[str]:
    """For people: a line a measure, and what follows."""
    yield f"{found.n_queries:,} choices of {found.n_users:,} users since {found.since}"
    yield f"{'':10}{found.candidate.version:>14}{found.serving.version:>14}  difference"
    for name, field in _MEASURES.items():
        means = [getattr(each, field).mean for each in (found.candidate, found.serving)]
        by = found.differences[name]
        interval = f"{by.mean:+.4f} ({by.low:+.4f} to {by.high:+.4f})"
        yield f"{name:10}{means[0]:>14.4f}{means[1]:>14.4f}  {interval}"
    yield (
        f"The choice stands higher in {found.higher:.0%} of the answers, lower in "
        f"{found.lower:.0%}; {found.in_common:.0%} of the first ten are the same."
    )
    for part in found.slices:
        ours, other = part.ndcg["candidate"], part.ndcg["serving"]
        yield f"  {part.label:>12} {part.by:30}{ours:.4f} {other:.4f} ({part.n_queries:,} choices)"
    for each in found.encoders:
        yield (
            f"Encoder {each.encoder_id}: {each.n_texts:,} texts, {each.s_per_1000:.1f} s for "
            f"1,000; {each.n_rows:,} rows take {each.redis_bytes / 1e6:,.1f} MB of Redis."
        )
    yield f"Model {found.candidate.version}: {found.verdict}."
