"""The spine of a training set: who, what, when, the label and its weight, one row per example.

Data with negative events: every event is an example, its label whether it was positive; so are
impressions and the like, which are no history. Data without, implicit data: every event with an
item that was known before it is a positive, and negatives are drawn from the items that were known
before it and that the user never touched before or at that time. An event that came before the
first version of its item is no example: no negative is drawn from such items, so that an absent
profile alone would tell the label.
"""

from pathlib import Path

import numpy as np
import polars as pl
import polars.selectors as cs
import pyarrow as pa
from numpy.typing import NDArray

from feast_fusion.errors import SchemaError, schema_error
from feast_fusion.parquet.whole import count_rows, read_parquet
from intake.context import ContextColumns, context_column
from intake.event_types import objectives_of, without_history
from intake.workspace import Workspace
from training.ranker.columns import OUTCOME
from transformations.names import EXAMPLES, INTERACTIONS, ITEMS

# Of fewer, the newest tenth, which tests, is not one event.
MIN_EVENTS = 10
WEIGHT = "weight"
SPINE_COLUMNS = ["user_id", "item_id", "event_timestamp", "label", WEIGHT]


def build_spine(workspace: Workspace, *, seed: int = 0) -> pa.Table:
    """user_id, item_id, event_timestamp (UTC, us), label (0 or 1) and weight, by time, user, item.

    Beside them the context of each event, `context__...`, of a drawn item that of its positive;
    and `outcome:<event_type>` (0 or 1) for each type that has an objective.
    Data without a negative event get `negatives` of `[ranker]` drawn per positive, each of the
    positive's weight; other data have their own.

    Raises
    ------
    SchemaError
        There are too few events, no item was known before the events that negatives are drawn
        for, or all labels are the same, so that nothing can be learned.
    """
    require_events(workspace)
    dataset, events = workspace.dataset, _read_events(workspace)
    if is_implicit(events):
        items = pl.DataFrame(read_parquet(workspace.source(ITEMS), ["item_id", "event_timestamp"]))
        rng = np.random.default_rng(seed)
        events = _with_negatives(events, items, dataset.ranker.negatives, rng)
        _require_known(events, workspace)
    if events["label"].n_unique() < 2:
        raise SchemaError(
            f"{dataset.path}: got {len(events)} examples with labels "
            f"{events['label'].unique().to_list()}, expected both 0 and 1. "
            "Check [interactions] positive, and that there are events."
        )
    spine = events.sort("event_timestamp", "user_id", "item_id").to_arrow()
    return _with_clock(spine, dataset.interactions.context)


def is_implicit(events: pl.DataFrame) -> bool:
    """Whether no event is negative, so that negatives are drawn."""
    return bool((events["label"] == 1).all())


def _read_events(workspace: Workspace) -> pl.DataFrame:
    """The events that are history, then those that are examples only, as the columns of a spine."""
    interactions = workspace.dataset.interactions
    return pl.concat(
        events.select(
            "user_id",
            "item_id",
            "event_timestamp",
            pl.col("positive").cast(pl.Int64).alias("label"),
            (pl.col(WEIGHT) if WEIGHT in events.columns else pl.lit(1.0))
            .cast(pl.Float32)
            .alias(WEIGHT),
            *map(context_column, interactions.context.given),
            *(
                (pl.col("event_type") == name).fill_null(False).cast(pl.Int64).alias(OUTCOME + name)
                for name in objectives_of(interactions.types)
            ),
        )
        for events in (pl.DataFrame(read_parquet(path)) for path in _sources(workspace))
    )


def _with_clock(spine: pa.Table, context: ContextColumns) -> pa.Table:
    for name, column in context.clock_columns(spine["event_timestamp"]).items():
        spine = spine.append_column(context_column(name), column)
    return spine


def _sources(workspace: Workspace) -> list[Path]:
    names = [INTERACTIONS]
    if without_history(workspace.dataset.interactions.types):
        names.append(EXAMPLES)
    return [workspace.source(name) for name in names]


def require_events(workspace: Workspace) -> None:
    """Nothing, unless the prepared events are too few to train, validate and test.

    Raises
    ------
    SchemaError
        There are fewer than `MIN_EVENTS`.
    """
    n_events = sum(count_rows(path) for path in _sources(workspace))
    if n_events < MIN_EVENTS:
        raise schema_error(
            f"{workspace.dataset.interactions.where}",
            got=f"{n_events} usable events",
            expected=f"at least {MIN_EVENTS}, of which the newest tenth tests",
            remedy="Bring more events; what was rejected is in "
            f"{workspace.sources / 'rejects'}, each row with its reason.",
        )


def describe_left_out(workspace: Workspace, spine: pa.Table) -> list[str]:
    """A line on the events without negatives that are no examples; none without such events."""
    events = _read_events(workspace)
    n_left = len(events) - int(np.sum(spine["label"].to_numpy()))
    if not is_implicit(events) or not n_left:
        return []
    return [
        f"{n_left:,} of {len(events):,} events are no examples: their items had no "
        "version before them, so that nothing was known of the items that could be drawn beside."
    ]


def _require_known(examples: pl.DataFrame, workspace: Workspace) -> None:
    if len(examples):
        return
    raise schema_error(
        workspace.dataset.items.where,
        got="no item with a version before its events",
        expected="the event_timestamp of an item's first version before the item's events",
        remedy="Where its times say when the table was made, "
        '`valid_from = "beginning"` in [items].',
    )


def _with_negatives(
    events: pl.DataFrame, items: pl.DataFrame, per_positive: int, rng: np.random.Generator
) -> pl.DataFrame:
    """The positives and, for each, up to `per_positive` untouched items that were known then.

    Candidates are drawn uniformly from the items known at that time; a draw that the user had
    touched by then is dropped, not drawn again, which only matters to users who touch most items.
    Known is an item whose first version is older than the event, which then did not cause it.
    """
    known = items.group_by("item_id").agg(pl.col("event_timestamp").min().alias("known_from"))
    known = known.sort("known_from", "item_id")
    was_known = pl.col("known_from") < pl.col("event_timestamp")
    positives = (
        events.join(known, on="item_id", maintain_order="left").filter(was_known).drop("known_from")
    )
    positives = positives.with_columns(label=pl.lit(1, pl.Int64))
    drawn = _draw(positives, known, per_positive, rng)
    touched = events.group_by("user_id", "item_id").agg(
        pl.col("event_timestamp").min().alias("touched_at")
    )
    sampled = (
        drawn.join(touched, on=["user_id", "item_id"], how="left")
        .filter(pl.col("touched_at").is_null() | (pl.col("touched_at") > pl.col("event_timestamp")))
        .with_columns(pl.lit(0, pl.Int64).alias("label"), cs.starts_with(OUTCOME) * 0)
        .select(positives.columns)
        .unique(["user_id", "item_id", "event_timestamp"], maintain_order=True)
    )
    return pl.concat([positives, sampled])


def _draw(
    positives: pl.DataFrame, known: pl.DataFrame, per_positive: int, rng: np.random.Generator
) -> pl.DataFrame:
    when = positives["event_timestamp"].to_numpy()
    n_known: NDArray[np.int64] = np.searchsorted(known["known_from"].to_numpy(), when, side="left")
    repeated = np.repeat(np.arange(len(positives)), per_positive)
    repeated = repeated[n_known[repeated] > 0]
    picks = rng.integers(0, n_known[repeated])
    return (
        positives[repeated]
        .drop("item_id", "label")
        .with_columns(item_id=known["item_id"].gather(picks))
    )
