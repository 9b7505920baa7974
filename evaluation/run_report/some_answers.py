"""Some answers of a run: what a few users had, what they are told, and how far answers reach."""

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from evaluation.report.blocks import Section, Table
from evaluation.report.words import figure
from feast_fusion.parquet.whole import read_parquet
from intake.workspace import Workspace
from serving.answers import Recommendations
from transformations.names import INTERACTIONS, ITEMS

_USERS, _ITEMS, _EVENTS = 3, 5, 5

Titles = Mapping[str, str]


def show_answers(workspace: Workspace, answers: Sequence[Recommendations]) -> Iterator[Section]:
    """The sections on answers: their coverage, and those of the last users."""
    titles = _titles(workspace)
    shown = [item.item_id for answer in answers for item in answer.items]
    n_new = sum(item.cold for answer in answers for item in answer.items)
    text = (
        f"The answers to {len(answers):,} users have {len({*shown}):,} distinct items of "
        f"{len(titles):,}; {n_new:,} of their {len(shown):,} places have items that nobody has "
        "acted on."
    )
    yield Section("How far answers reach", (text,))
    last = answers[-_USERS:]
    tables = [_answer(answer, _history(workspace, answer.user_id, titles)) for answer in last]
    text = (
        f"The first {_ITEMS} items of the last {len(last)} users who were asked for, a table each. "
        "The score is the chance that the user chooses the item next, if one of those ranked."
    )
    yield Section("Some answers", (text,), tuple(tables))


def _answer(answer: Recommendations, history: list[str]) -> Table:
    had = ", ".join(history) or "nothing"
    rows = [
        (str(rank), item.title or item.item_id, figure(item.score))
        for rank, item in enumerate(answer.items[:_ITEMS], start=1)
    ]
    title = f"User {answer.user_id}, who lately had: {had}"
    return Table(title, ("place", "item", "score"), tuple(rows))


def _titles(workspace: Workspace) -> dict[str, str]:
    """By item id the newest title, or the id."""
    name = workspace.dataset.items.title
    columns = dict.fromkeys(["item_id", "event_timestamp", name])
    rows = pl.DataFrame(read_parquet(workspace.source(ITEMS), [*columns]))
    newest = rows.sort("event_timestamp").unique("item_id", keep="last")
    pairs = zip(newest["item_id"].to_list(), newest[name].to_list(), strict=True)
    return {item_id: str(title or item_id) for item_id, title in pairs}


def _history(workspace: Workspace, user_id: str, titles: Titles) -> list[str]:
    path = workspace.source(INTERACTIONS)
    events = pl.DataFrame(read_parquet(path, ["user_id", "item_id", "event_timestamp"]))
    own = events.filter(user_id=user_id).sort("event_timestamp", descending=True)
    return [titles.get(item_id, item_id) for item_id in own["item_id"].head(_EVENTS).to_list()]
