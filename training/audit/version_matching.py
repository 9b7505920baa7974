"""Which version of a row was served, and which offline row it is to be compared with.

A served row is as old as its view's event timestamp says. Where a newer one existed at the request,
an event had not arrived or was not applied yet: the row was behind, which is no skew of values, and
is compared with the same version offline. Only events that came since can excuse a difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from transformations.schema import CAUSED_AFTER_US

Bools = NDArray[np.bool_]
Micros = NDArray[np.int64]

# From the arrival of an event to its row in the online store, in a healthy service.
APPLIED_WITHIN_US = 10_000_000
# Events this close may be applied in another order than they arrived in.
_SWAPPED_US = 200_000


@dataclass(frozen=True)
class Versions:
    """What was served of one view in n rows, all (n,).

    Attributes
    ----------
    as_of : microseconds; the offline store is asked for the row at this instant
    behind : a newer row existed at the request
    behind_us : for how long its event had been there by then; 0 where not behind
    ahead : the row that was served is of after the request
    unapplied : no row was served, and no event that had caused one had to be applied yet
    unfolded : the version is of an event that is not in the offline store yet
    may_be_rewritten : an event of before the version arrived when it had been served
    """

    as_of: Micros
    behind: Bools
    behind_us: Micros
    ahead: Bools
    unapplied: Bools
    unfolded: Bools
    may_be_rewritten: Bools

    @property
    def comparable(self) -> Bools:
        """(n,) whether there is something to compare."""
        return ~(self.unapplied | self.unfolded)


def match_versions(
    keys: Sequence[str],
    requested: Micros,
    served: Sequence[int | None],
    history: pl.DataFrame,
    events: pl.DataFrame,
    applied_until: Micros | None = None,
) -> Versions:
    """The versions that were served of one view.

    Parameters
    ----------
    requested, served : times of the request and of the row that was served (None: no row), in
        microseconds
    history : key, ts: the rows that the offline source has
    events : key, time, received: the live events; times in microseconds
    applied_until : (n,) what had arrived by then must be in the row; default: by ten seconds
        before the request
    """
    if applied_until is None:
        applied_until = requested - APPLIED_WITHIN_US
    rows = pl.DataFrame(
        {"key": keys, "requested": requested, "served": served, "applied": applied_until},
        schema={"key": pl.String} | dict.fromkeys(("requested", "served", "applied"), pl.Int64),
    ).with_row_index("row")
    history = history.select("key", "ts").unique().sort("ts")
    rows = _beside_history(rows, history)
    was_served = pl.col("served").is_not_null()
    newer = pl.col("next") <= pl.col("requested")
    rows = _beside_events(rows, events).with_columns(
        behind=(was_served & newer).fill_null(False),
        ahead=(pl.col("served") > pl.col("requested")).fill_null(False),
        unfolded=was_served & ~pl.col("exists") & pl.col("n_at_instant").gt(0),
        unapplied=_unapplied(rows, history, events),
    )
    follows = pl.col("behind") | pl.col("ahead") | (was_served & ~pl.col("exists"))
    rows = rows.with_columns(
        as_of=pl.when(follows).then("served").otherwise("requested"),
        behind_us=pl.when("behind")
        .then(pl.col("requested") - pl.col("known"))
        .otherwise(0)
        .clip(0),
    ).sort("row")
    names = ("as_of", "behind", "behind_us", "ahead", "unapplied", "unfolded", "may_be_rewritten")
    return Versions(**{name: rows[name].to_numpy() for name in names})


def _beside_history(rows: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """With `exists`, the version is there, and `next`, the time of the row that follows it."""
    versions = history.with_columns(exists=True, served=pl.col("ts")).drop("ts")
    after = rows.with_columns(after=pl.col("served") + 1).sort("after", nulls_last=True)
    found = after.filter(pl.col("after").is_not_null()).join_asof(
        history.rename({"ts": "next"}),
        left_on="after",
        right_on="next",
        by="key",
        strategy="forward",
        check_sortedness=False,
    )
    none = after.filter(pl.col("after").is_null()).with_columns(next=pl.lit(None, pl.Int64))
    return (
        pl.concat([found.drop("after"), none.drop("after")], how="diagonal")
        .join(versions, on=["key", "served"], how="left")
        .with_columns(pl.col("exists").fill_null(False))
        .sort("row")
    )


def _beside_events(rows: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """With `n_at_instant`, the live events that the version is of, `known`, when the row that
    follows it came to be, and `may_be_rewritten`.

    An event can have rewritten the version that was served if it is not after it, arrived later
    than what the version is of, and cannot have been applied at the request.
    """
    of_version = events.group_by("key", (pl.col("time") + CAUSED_AFTER_US).alias("served")).agg(
        pl.col("received").min().alias("caused"), pl.len().alias("n_at_instant")
    )
    rows = rows.join(of_version, on=["key", "served"], how="left").with_columns(
        pl.col("n_at_instant").fill_null(0), pl.col("caused").fill_null(-1)
    )
    rows = rows.join(
        of_version.select("key", next="served", known="caused"), on=["key", "next"], how="left"
    ).with_columns(pl.max_horizontal("next", "known").alias("known"))
    not_applied = events.filter(pl.col("received") > rows["applied"].min())
    late = (
        rows.join(not_applied, on="key")
        .filter(
            pl.col("time") + CAUSED_AFTER_US <= pl.col("served"),
            pl.col("received") > pl.col("caused") - _SWAPPED_US,
            pl.col("received") > pl.col("applied"),
            # The only event of its instant made the version, unless it came too late for that.
            (pl.col("time") + CAUSED_AFTER_US < pl.col("served"))
            | (pl.col("n_at_instant") > 1)
            | (pl.col("received") > pl.col("requested")),
        )
        .select("row")
        .unique()
    )
    rewritten = pl.col("row").is_in(late["row"].implode())
    return rows.with_columns(may_be_rewritten=rewritten).sort("row")


def _unapplied(rows: pl.DataFrame, history: pl.DataFrame, events: pl.DataFrame) -> pl.Series:
    """Rows that were served empty while nothing the offline store has had to be applied yet."""
    empty = rows.filter(pl.col("served").is_null()).select("row", "key", "requested", "applied")
    before = empty.join(history, on="key").filter(pl.col("ts") <= pl.col("requested"))
    caused = events.group_by("key", (pl.col("time") + CAUSED_AFTER_US).alias("ts")).agg(
        pl.col("received").min()
    )
    is_recent = pl.col("received") > pl.col("applied")
    judged = (
        before.join(caused, on=["key", "ts"], how="left")
        .group_by("row")
        .agg(is_recent.fill_null(False).all().alias("unapplied"))
    )
    return rows.join(judged, on="row", how="left", maintain_order="left")["unapplied"].fill_null(
        False
    )
