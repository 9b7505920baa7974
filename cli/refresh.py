"""`feast-fusion refresh`: bring the features up to date with the data set and the live events."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from cli.candidate_encoder import beside_main, train_candidate
from cli.data import retrieve_training_set
from cli.feast_repository import open_store
from cli.materializing import materialize_anew, materialize_new_rows
from cli.ranker import promote_trained, trained_version
from cli.redis import redis_of, require_redis
from cli.rehearse import rehearsal_lines, rehearsal_of
from cli.terminal import result, say, then
from cli.workspace_options import with_workspace
from intake.workspace import Workspace

if TYPE_CHECKING:
    from training.promotions import Promoted

_REHEARSED = 2000  # choices by which a new version is judged


@click.command()
@click.argument("strategy", type=click.Choice(["incremental", "full", "hybrid"]))
@click.option(
    "--full-every-hours",
    default=24.0,
    show_default=True,
    help="hybrid: a full refresh when the last one is older.",
)
@click.option(
    "--retrain",
    is_flag=True,
    help="Also train on what is prepared now, and promote the version unless it answers worse.",
)
@with_workspace
def refresh(workspace: Workspace, /, strategy: str, full_every_hours: float, retrain: bool) -> None:
    """Fold live events into the sources, then bring the stores up to date with them.

    What is folded in of the journal is archived at the end, compressed.

    \b
    incremental   feast materialize-incremental: rows since the last time. Costs in proportion to
                  what is new. An event that arrived late changes the served rows at once, but
                  not the vectors that history has of the moments after it.
    full          computes the history of vectors anew, then feast materialize from the
                  beginning. Costs in proportion to all events; texts that are in the vector
                  cache are not encoded again. Afterwards everything is as if all events had
                  come in time.
    hybrid        incremental now, full when the last one is --full-every-hours old: for a
                  schedule such as cron.
    """
    from cli.preparing import prepare_sources  # seconds to import

    require_redis()
    open_store(workspace)  # declarations and sources that differ are found before sources change
    if strategy == "hybrid":
        from serving.full_refresh import is_full_refresh_due  # seconds to import

        is_due = is_full_refresh_due(workspace, timedelta(hours=full_every_hours))
        strategy = "full" if is_due else "incremental"
        say(f"hybrid: {strategy} this time.")
    # Before the fold: a row that a later event writes online must count as newer than ours.
    began = datetime.now(UTC)
    prepare_sources(workspace)
    with redis_of(workspace) as redis:
        if strategy == "full":
            _refresh_fully(workspace, redis, began)
        else:
            materialize_new_rows(workspace, redis)
    _archive_journals(workspace)
    answers = _retrain(workspace) if retrain else None
    then("Next: feast-fusion recommend USER; a running service takes it up.")
    result(strategy=strategy, retrained=retrain, model=answers)


def _retrain(workspace: Workspace) -> str:
    """The version that most users have afterwards.

    A new one is promoted where it answers no worse, and where one version answers all: several are
    someone's trial.
    """
    from training.promotions import Promotions

    promotions = Promotions(workspace)
    promotions.follow()
    promoted = promotions.read() if promotions.names() else None
    version = _trained_anew(workspace, promoted)
    if promoted is None or version in promoted.shares:
        promote_trained(workspace, version, always=False)
        say(f"Model {version} answers.")
        return version
    found = rehearsal_of(workspace, version, promoted.main, limit=_REHEARSED)
    say(*rehearsal_lines(found))
    is_promoted = found.verdict != "worse" and len(promoted.shares) == 1
    promote_trained(workspace, version, always=is_promoted)
    answers = version if is_promoted else promoted.main
    say(f"Model {answers} answers.")
    return answers


def _trained_anew(workspace: Workspace, promoted: "Promoted | None") -> str:
    """A version on what is prepared now, and on vectors of the encoder that most users have."""
    from training.model_versions import ModelVersions

    if promoted is not None:
        encoder_id = ModelVersions(workspace).find(promoted.main).encoder_id
        candidate = beside_main(workspace, encoder_id)
        if candidate is not None:
            return train_candidate(workspace, candidate)
    training_set = retrieve_training_set(workspace)
    training_set.save(workspace.training_set)
    return trained_version(workspace, training_set)


def _archive_journals(workspace: Workspace) -> None:
    """Archives live events that are prepared; a running service has begun another file by now.

    So are posted rows, once they are in the stores, too.
    """
    from intake.event import EVENT_FORMAT
    from intake.journal_index import JournalIndex
    from intake.posted.posted_row import ROW_FORMAT
    from transformations.folded_rows import rows_written

    rows = JournalIndex(workspace.posted, ROW_FORMAT)
    if n_files := rows.archive(rows_written(workspace)):
        say(f"{n_files:,} files of posted rows went into {workspace.posted / 'archive'}.")
    index = JournalIndex(workspace.events, EVENT_FORMAT)
    if n_files := index.archive(workspace.read_prepared_journal()):
        files = "1 file" if n_files == 1 else f"{n_files:,} files"
        say(
            f"{files} of live events, which are prepared, went into {workspace.events / 'archive'}."
        )


def _refresh_fully(workspace: Workspace, redis: str, began: datetime) -> None:
    from serving.full_refresh import derived_views, note_full_refresh

    materialize_anew(workspace, redis, derived_views(open_store(workspace)), began)
    note_full_refresh(workspace, began)
