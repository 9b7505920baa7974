"""What may be learned from, and the questions that are made of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_fusion.errors import SchemaError
from intake.workspace import Workspace, open_workspace
from tests.evaluation.logs import make_events, random_events
from training.encoder_tuning.choice_texts import ChoiceTexts
from training.encoder_tuning.choices import Choices, build_choices, read_choices
from training.encoder_tuning.slate import draw_slate
from transformations.collaborative.histories import Events
from transformations.item_versions import ItemVersions, build_item_versions
from transformations.names import INTERACTIONS
from transformations.prepared_sources import write_sources

TIMESTAMP = pa.timestamp("us", "UTC")


def versions_of(events: Events, known: list[tuple[int, int]] | None = None) -> ItemVersions:
    """Of (item, known from); one version of each item, known always, without."""
    rows = known or [(item, -1) for item in range(len(events.items))]
    return build_item_versions(
        pa.table(
            {
                "item_id": events.items.take(np.array([item for item, _ in rows])),
                "event_timestamp": pa.array([time for _, time in rows]).cast(TIMESTAMP),
            }
        )
    )


def choices_of(events: Events) -> Choices:
    return build_choices(events, versions_of(events))


def test_a_choice_is_the_first_positive_event_of_a_pair_at_the_version_known_then() -> None:
    events = random_events(1, n_events=600)
    known = [(item, at) for item in range(20) for at in (item, 100 + item)]
    found = build_choices(events, versions_of(events, known))
    expected = {}
    for row in range(len(events)):
        user, item, time = (int(of[row]) for of in (events.user, events.item, events.time))
        if events.positive[row] and (user, item) not in expected:
            expected[user, item] = time
    rows = {
        (int(u), int(i)): int(t)
        for u, i, t in zip(found.user, events.item[found.row], found.time, strict=True)
    }
    assert rows == {pair: time for pair, time in expected.items() if time >= pair[1]}
    from_time = found.versions.known_from[found.version]
    item = events.item[found.row]
    assert (from_time == np.where(found.time >= 100 + item, 100 + item, item)).all()
    assert (from_time <= found.time).all()
    assert len(found) > 100


def test_too_few_choices_are_refused() -> None:
    events = make_events([(t, 0, t, True) for t in range(19)], 1, 19)
    with pytest.raises(SchemaError, match=r"19 liked items .* at least 20"):
        choices_of(events)


def rewrite(workspace: Workspace, folder: Path, change: dict[str, pl.DataFrame]) -> Workspace:
    """The workspace prepared anew in another home from changed files."""
    for path in workspace.dataset.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    for name, table in change.items():
        table.write_parquet(folder / name)
    changed = open_workspace(folder / "dataset.toml", folder / "home")
    write_sources(changed)
    return changed


def test_nothing_after_the_split_is_read(tiny: Workspace, tmp_path: Path) -> None:
    found = read_choices(tiny)
    boundary = int(found.time.max())
    log = pl.read_parquet(tiny.source(INTERACTIONS)).sort("event_timestamp", "user_id", "item_id")
    n_train = len(log) - int(len(log) * 0.1)
    n_train -= int(n_train * 0.1)
    assert found.row.max() < n_train and len(found.events) == n_train
    # Everything behind the first boundary becomes another story, told of other texts.
    ratings = pl.read_parquet(tiny.dataset.folder / "ratings.parquet")
    late = pl.col("event_timestamp").dt.epoch("us") > boundary + 3_600_000_000
    story = ratings.with_columns(
        item_id=pl.when(late).then(pl.lit("f7")).otherwise("item_id"),
        value=pl.when(late).then(5.0).otherwise("value"),
    )
    items = pl.read_parquet(tiny.dataset.folder / "items.parquet")
    later = ratings["event_timestamp"].max()
    told = items.with_columns(
        title=pl.lit("SPOILER"), event_timestamp=pl.lit(later).cast(items.schema["event_timestamp"])
    )
    changed = rewrite(
        tiny, tmp_path, {"ratings.parquet": story, "items.parquet": pl.concat([items, told])}
    )
    planted = read_choices(changed)
    assert not pq.read_table(changed.source(INTERACTIONS)).equals(
        pq.read_table(tiny.source(INTERACTIONS))
    )
    for name in ("user", "time"):
        assert (getattr(planted, name) == getattr(found, name)).all()
    texts, before = texts_of(planted, changed), texts_of(found, tiny)
    rows = np.arange(len(found))
    assert texts.behaviours(rows) == before.behaviours(rows)
    assert [texts.items[v] for v in planted.version] == [before.items[v] for v in found.version]
    assert texts.known == before.known
    assert any("SPOILER" in text for text in texts.items)  # the plant is there


def texts_of(choices: Choices, workspace: Workspace) -> ChoiceTexts:
    return ChoiceTexts(choices, workspace, lambda texts: [len(t) for t in texts], 2, 200)


def test_behaviours_hold_what_was_done_strictly_before(tiny: Workspace) -> None:
    choices = read_choices(tiny)
    texts = texts_of(choices, tiny)
    rows = np.arange(0, len(choices), 7)
    events = choices.events
    for row, text in zip(rows, texts.behaviours(rows), strict=True):
        earlier = (events.user == choices.user[row]) & (events.time < choices.time[row])
        titles = {
            f"Film number {events.items.ids[int(i)].as_py()[1:]}" for i in events.item[earlier]
        }
        told = [part.strip(" .") for part in text.replace("disliked ", ";").split(";")]
        told = [part.removeprefix("liked ") for part in told if part]
        assert set(told) <= titles
        assert bool(told) == bool(titles)


def test_questions_of_a_slate_are_as_the_loop_says() -> None:
    events = random_events(2, n_users=9, n_items=30, n_events=700)
    choices = choices_of(events)
    slate = draw_slate(choices, np.random.default_rng(0), size=14, behaviours=6, n_together=10_000)
    items = choices.versions.item[slate.version].tolist()
    liked = {(int(u), int(i)) for u, i in zip(choices.user, events.item[choices.row], strict=True)}
    assert len(set(items)) == len(items) and len(slate.drawn) == 6
    for at, row in enumerate(slate.drawn):
        user, own = int(choices.user[row]), int(events.item[choices.row[row]])
        assert items[slate.by_behaviour.answer[at]] == own
        hidden = [item != own and (user, item) in liked for item in items]
        assert slate.by_behaviour.is_hidden[at].tolist() == hidden
    expected = set()
    for row in range(len(choices)):
        user, time, own = choices.user[row], choices.time[row], int(events.item[choices.row[row]])
        before = [
            int(events.item[choices.row[other]]) in items
            for other in range(len(choices))
            if choices.user[other] == user and choices.time[other] < time
        ]
        if own in items and any(before):
            expected.add((int(user), own, sum(before)))
    found = {
        (user, items[answer], round(1 / weights.max()))
        for answer, weights, user in zip(
            slate.together.answer,
            slate.weights,
            users_of(slate.together.is_hidden, liked, items, slate),
            strict=True,
        )
    }
    assert {(own, n) for _, own, n in found} == {(own, n) for _, own, n in expected}
    assert len(slate.together.answer) == len(expected)
    assert np.allclose(slate.weights.sum(axis=1), 1.0)


def users_of(is_hidden, liked, items, slate):  # type: ignore[no-untyped-def]
    """The users whose likes are hidden or the answer; any of those alike."""
    for hidden, answer in zip(is_hidden, slate.together.answer, strict=True):
        own = {item for item, h in zip(items, hidden, strict=True) if h} | {items[answer]}
        yield next(u for u in range(99) if {i for i in items if (u, i) in liked} == own)


def test_held_out_items_are_not_learned_from(tiny: Workspace) -> None:
    held_out = np.array([3, 4, 5])
    found = read_choices(tiny, held_out)
    assert not np.isin(found.events.item, held_out).any()
    assert len(found) < len(read_choices(tiny))


def test_log_share_is_of_the_drawing() -> None:
    rows = [(t, t, 0, True) for t in range(30)] + [(40 + t, t, 1, True) for t in range(10)]
    choices = choices_of(make_events(rows, 30, 3))
    assert np.exp(choices.log_share).round(6).tolist() == [0.75, 0.25, 0.0]
    assert replace(choices, row=choices.row[:30], version=choices.version[:30]).log_share[0] == 0
