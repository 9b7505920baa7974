"""`feast-fusion recommend`: the answer for a user, now or as of an instant."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.context_option import read_context
from cli.feast_repository import open_store, require_run, running_store, say_what_is_old
from cli.recommend_all import recommend_to_all, require_one_kind
from cli.redis import redis_trouble
from cli.terminal import result, say
from cli.variety_options import with_variety
from cli.workspace_options import with_workspace
from intake.workspace import Workspace

if TYPE_CHECKING:
    from serving.answers import Recommendations
    from serving.as_of import AsOf


class _CommandOnUser(click.Command):
    """Says how an id that begins with a dash is given: it reads as an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name
            ids = [each for each in given if each.startswith(name) and each[1:2].isdigit()]
            if not ids:
                raise
            raise click.UsageError(
                f"USER: got {ids[0]}, which reads as an option, expected an id. Give an id that "
                f"begins with a dash after --, and options before: {ctx.command_path} -- {ids[0]}",
                ctx,
            ) from None


@click.command(cls=_CommandOnUser)
@click.argument("user", required=False)
@click.option(
    "-n", "--n", default=10, show_default=True, type=click.IntRange(1, 1000), help="How many."
)
@click.option("--query", metavar="TEXT", help="What the user asks for, in words.")
@click.option(
    "--filter",
    metavar="CONDITION",
    help="Only items of which it is true, such as \"year < 1980 and 'Comedy' in genres\".",
)
@click.option(
    "--as-of",
    type=click.DateTime(),
    metavar="TIME",
    help="What would have been answered then (UTC), from history alone.",
)
@click.option(
    "--context",
    "contexts",
    multiple=True,
    metavar="NAME=VALUE",
    help="What is around the request, by [interactions.context]. Repeatable.",
)
@click.option("--explain", is_flag=True, help="Also say why, item by item.")
@click.option("--debug", is_flag=True, help="Also say what each signal adds, and facts.")
@click.option("--all", "everybody", is_flag=True, help="Of every user, as Parquet in --out.")
@click.option(
    "--out",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Of --all; a run that was ended is gone on with.",
)
@with_variety
@with_workspace
def recommend(
    workspace: Workspace,
    /,
    user: str | None,
    n: int,
    query: str | None,
    filter: str | None,
    as_of: datetime | None,
    contexts: tuple[str, ...],
    explain: bool,
    debug: bool,
    everybody: bool,
    folder: Path | None,
    variety: dict[str, Any],
) -> None:
    """Print the top N items for USER, with features read from Redis, or write those of all."""
    require_one_kind(user, folder, everybody, as_of=bool(as_of), explain=explain, debug=debug)
    require_run(workspace)
    say_what_is_old(workspace)
    context = dict(read_context(workspace, contexts))
    asked: dict[str, Any] = {
        "query": query,
        "filter": filter,
        "context": context,
        "variety": variety,
    }
    if folder is not None:
        recommend_to_all(workspace, folder, n, asked)
        return
    assert user is not None
    asked |= {"explain": explain, "debug": debug}
    if as_of is not None:
        past = open_past(workspace, as_of.replace(tzinfo=UTC))
        answer = past.recommend(user, n, **asked)
    else:
        with _told_why_popular():
            (answer,) = recommend_to(workspace, [user], n, **asked)
    result(**asdict(answer))
    say(*answer_lines(answer))


def open_past(workspace: Workspace, at: datetime) -> "AsOf":
    """The answers of an instant; no Redis is needed."""
    from serving.as_of import open_as_of
    from transformations.embedder import Embedder

    return open_as_of(workspace, open_store(workspace), partial(Embedder, workspace), at)


@contextmanager
def _told_why_popular() -> Iterator[None]:
    """Where Redis does not answer, one line of ours in place of what each reader of it logs."""
    trouble = redis_trouble()
    if trouble is None:
        yield
        return
    say(f"By popularity alone, since the Redis of REDIS_URL does not answer: {trouble}.")
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def recommend_to(
    workspace: Workspace, users: list[str], n: int, **options: Any
) -> list["Recommendations"]:
    """Answers for some users, from the Redis of this workspace.

    options : of `Recommender.recommend`
    """
    from serving.assembly import open_recommender

    with (
        running_store(workspace, must_answer=False) as store,
        open_recommender(workspace, store) as recommender,
    ):
        if options.get("query"):
            recommender.warm_up()  # or the first answer would seem to take as long as loading
        return [recommender.recommend(user, n, **options) for user in users]


_SHOWN = 8  # of what was understood
_USERS = {
    "known": "",
    "profile_only": " (only a profile is known of this user)",
    "unknown": " (nothing known of this user: popular and new items)",
}


def _understood(answer: "Recommendations") -> str:
    """Such as "genres Horror; not genres War (by meaning)"; the first ones of many."""
    found = [
        f"{'not ' if each.sense == 'refused' else ''}{each.column} {each.value}"
        f"{' (by meaning)' if each.by == 'meaning' else ''}"
        for each in answer.understood
    ]
    more = [f"{len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return "; ".join([*found[:_SHOWN], *more])


def answer_lines(answer: "Recommendations") -> list[str]:
    """The answer for a person: a line of context, then one line per item and per reason."""
    lines = [
        f"Top {len(answer.items)} for user {answer.user_id}{_USERS[answer.user]}: "
        f"{answer.n_candidates} candidates in {answer.latency_ms:.0f} ms"
    ]
    lines += [f"Degraded: {reason}." for reason in answer.reasons]
    lines += [f"Understood: {_understood(answer)}."] if answer.understood else []
    lines += [f"Of this user: {answer.portrait}"] if answer.portrait else []
    for rank, item in enumerate(answer.items, start=1):
        lines.append(f"{rank:>3}. {item.title or item.item_id:<50} {item.score:.3f}")
        for reason in item.reasons:
            added = f" ({reason.value:+.2f})" if reason.kind == "signal" else ""
            lines.append(f"       {reason.text}{added}")
    return lines
