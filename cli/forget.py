"""`feast-fusion forget` and `export`: what is kept of a person, erased or given out."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.forgetting_place import complete_forgetting, complete_journals, forgetting_place
from cli.terminal import result, say, then
from cli.workspace_options import with_workspace
from feast_fusion.errors import FeatureNotFoundError, schema_error
from intake.workspace import Workspace

if TYPE_CHECKING:
    from forgetting.case import Surroundings


@click.command()
@click.argument("user_ids", metavar="[USER]...", nargs=-1)
@click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A text file with an id in each line.",
)
@click.option("--resume", is_flag=True, help="Complete what was interrupted.")
@click.option("--yes", is_flag=True, help="Do not ask at a terminal.")
@click.option(
    "--even-unknown",
    is_flag=True,
    help="Also users of whom nothing is kept: what comes of them later is refused.",
)
@click.option("--lift", is_flag=True, help="Let users who were forgotten come back.")
@with_workspace
def forget(
    workspace: Workspace,
    /,
    user_ids: tuple[str, ...],
    file: Path | None,
    resume: bool,
    yes: bool,
    even_unknown: bool,
    lift: bool,
) -> None:
    """Erase all that is kept of users: journal, sources, history, training sets, texts, Redis.

    It ends in an audit that searches every file and key; something left is an error that names it.
    A user of whom nothing is kept is an error: the id may be mistyped. At a terminal it asks first.
    A receipt without the id says what was erased, and which models were trained on the person. A
    service may go on meanwhile. From now on events of these users are rejected, and their rows in
    the data set's own tables left out. A command that was killed is completed by the next run.
    """
    users = [*user_ids, *(_lines(file) if file else ())]
    if bool(users) == resume:
        raise schema_error(
            "forget",
            got="users and --resume" if users else "no user",
            expected="ids of users, a --file of them, or --resume",
            remedy="Name one of them.",
        )
    if lift:
        _lift(workspace, users)
        return
    receipts = _forget(workspace, users, is_asked=not yes, even_unknown=even_unknown)
    result(receipts=receipts)
    if not receipts:
        say("Nothing was interrupted.")
    elif workspace.models.is_dir():
        then("Next: feast-fusion run, for a model without these people.")


@click.command()
@click.argument("user_id", metavar="USER")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="A folder that is not there."
)
@with_workspace
def export(workspace: Workspace, user_id: str, out: Path) -> None:
    """Write all that is kept of a user to a folder: JSON lines, and a manifest.

    It is taken from the same places as forget erases.
    """
    from forgetting.personal_export import export_person  # seconds to import

    with forgetting_place(workspace) as place:
        rows = export_person(place, user_id, out.absolute())
    say(*(f"{file}: {n:,} rows" for file, n in rows.items()))
    say(f"{sum(rows.values()):,} rows in {len(rows)} files: {out}")
    if not rows:
        say(f"Nothing is kept of {user_id!r}. {_near(workspace, user_id)}".rstrip())
    result(folder=out, rows=rows)


def _forget(
    workspace: Workspace, users: list[str], *, is_asked: bool, even_unknown: bool
) -> list[Path]:
    """Where the receipts are; with no users, of those who were to be forgotten already."""
    from forgetting.pending_requests import Requests  # seconds to import
    from forgetting.places.list_of_places import count_kept

    requests = Requests(workspace.forgotten)
    if users:
        complete_journals(workspace)
        with forgetting_place(workspace) as place:
            if not even_unknown:
                _refuse_unknown(place, users)
            if is_asked and sys.stdin.isatty():
                n_rows = sum(count_kept(place, user_id) for user_id in users)
                question = f"Erase {n_rows:,} rows of {', '.join(users)}?"
                click.confirm(question, abort=True, err=True)
    for user_id in users:
        requests.ask(user_id)
    return complete_forgetting(workspace)


def _refuse_unknown(place: "Surroundings", users: list[str]) -> None:
    """Refuse users of whom nothing is kept, but those who were forgotten before."""
    from forgetting.places.list_of_places import is_kept
    from intake.tombstones import Tombstones

    workspace = place.workspace
    gone = Tombstones(workspace.forgotten)
    unknown = [each for each in users if each not in gone and not is_kept(place, each)]
    if not unknown:
        return
    others = f" and {len(unknown) - 1:,} more" if len(unknown) > 1 else ""
    raise FeatureNotFoundError(
        f"forget: nothing is kept of {unknown[0]!r}{others} in {workspace.root}; nothing was "
        f"erased. {_near(workspace, unknown[0])}Correct the id, or add --even-unknown, which "
        "refuses what comes of the user later."
    )


def _near(workspace: Workspace, user_id: str) -> str:
    """Such as "Known are 'ana', 'anna'. ", for an id that may be mistyped."""
    from forgetting.near_ids import near_ids

    near = ", ".join(map(repr, near_ids(workspace, user_id)))
    return f"Known are {near}. " if near else ""


def _lines(file: Path) -> list[str]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip()]


def _lift(workspace: Workspace, users: list[str]) -> None:
    from intake.tombstones import Tombstones

    tombstones = Tombstones(workspace.forgotten)
    n_lifted = sum(tombstones.lift(user_id) for user_id in users)
    say(f"{n_lifted} of {len(users)} were forgotten, and may come back.")
    result(lifted=n_lifted)
    then("Next: feast-fusion prepare, which takes rows of the data set's own tables in again.")
