"""Which version of a row was served, and which offline row it is to be compared with.

A version is as old as the event timestamp of the served row says. Where the online store lacked a
newer row at the request, an event had not arrived or was not applied yet. Such a version is
*behind*; it is no skew of values, and is compared with the same version offline. Only an event that
came since can excuse a difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import polars as pl
from numpy.typing import NDArray

from transformations.schema import CAUSED_AFTER_US

Bools = NDArray[np.bool_]
Micros = NDArray[np.int64]

# From the arrival of an event to its row in the online store, in a healthy service.
APPLIED_WITHIN_US = 10_000_000
# Two events that arrive within this time may be applied in the other order.
_SWAPPED_US = 200_000


@dataclass(frozen=True)
class Versions:
    """What was served of one view in n rows, all (n,).

    Attributes
    ----------
    as_of : microseconds; the offline store is asked for the row at this instant
    behind : a newer row existed at the request
    behind_us : how long the event of the newer row had been there; 0 where not behind
    ahead : the row that was served is stamped after the request
    unapplied : no row was served, and no event had to be applied yet
    unfolded : the version is of an event that the offline store lacks
    may_be_rewritten : since the request an event arrived that belongs before the version
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
    applied_until : (n,) what had arrived by then must be in the row; default: ten seconds before
        the request

    Examples
    --------
    An event at 100 arrived at once, an event at 200 at 250. Three requests at 300 must know what
    had arrived by 240. The first got the row of the second event. The second got the older row:
    it was behind by an event that had been there for 50, and is compared with the row of 101. The
    third got no row, although the first event was due.

    >>> history = pl.DataFrame({"key": ["u", "u"], "ts": [101, 201]})
    >>> events = pl.DataFrame({"key": ["u", "u"], "time": [100, 200], "received": [100, 250]})
    >>> requested, due = np.full(3, 300), np.full(3, 240)
    >>> found = match_versions(["u"] * 3, requested, [201, 101, None], history, events, due)
    >>> found.as_of.tolist(), found.behind_us.tolist(), found.unapplied.tolist()
    ([300, 101, 300], [0, 50, 0], [False, False, False])
    """
    if applied_until is None:
        applied_until = requested - APPLIED_WITHIN_US
    rows = pl.DataFrame(
        {"key": keys, "requested": requested, "served": served, "applied": applied_until},
        schema={"key": pl.String} | dict.fromkeys(("requested", "served", "applied"), pl.Int64),
    ).with_row_index("row")
    history = history.select("key", "ts").unique().sort("ts")
    caused = events.group_by("key", (pl.col("time") + CAUSED_AFTER_US).alias("ts")).agg(
        pl.col("received").min().alias("caused"), pl.len().alias("n_at_instant")
    )
    was_served = pl.col("served").is_not_null()
    judged = pl.concat(
        [
            _judge_served(rows.filter(was_served), history, caused, events),
            _judge_empty(rows.filter(~was_served), history, caused),
        ],
        how="diagonal",
    ).sort("row")
    return Versions(**{field.name: judged[field.name].to_numpy() for field in fields(Versions)})


def _judge_served(
    rows: pl.DataFrame, history: pl.DataFrame, caused: pl.DataFrame, events: pl.DataFrame
) -> pl.DataFrame:
    """`Versions` of the requests that got a row."""
    rows = _beside_events(_beside_history(rows, history), caused)
    behind = (pl.col("next") <= pl.col("requested")).fill_null(False)
    ahead = pl.col("served") > pl.col("requested")
    is_compared_as_served = behind | ahead | ~pl.col("exists")
    waited = (pl.col("requested") - pl.col("known")).clip(0)
    return rows.select(
        "row",
        behind=behind,
        ahead=ahead,
        unapplied=False,
        unfolded=~pl.col("exists") & (pl.col("n_at_instant") > 0),
        as_of=pl.when(is_compared_as_served).then("served").otherwise("requested"),
        behind_us=pl.when(behind).then(waited).otherwise(0),
        may_be_rewritten=pl.col("row").is_in(_rewritten(rows, events).implode()),
    )


def _judge_empty(rows: pl.DataFrame, history: pl.DataFrame, caused: pl.DataFrame) -> pl.DataFrame:
    """`Versions` of the requests that got no row.

    A request is unapplied where the offline store has rows by then, all of them of live events
    that did not have to be applied yet.
    """
    before = rows.join(history, on="key").filter(pl.col("ts") <= pl.col("requested"))
    is_recent = (pl.col("caused") > pl.col("applied")).fill_null(False)
    unapplied = (
        before.join(caused, on=["key", "ts"], how="left")
        .group_by("row")
        .agg(is_recent.all().alias("unapplied"))
    )
    never = dict.fromkeys(("behind", "ahead", "unfolded", "may_be_rewritten"), pl.lit(False))
    return rows.join(unapplied, on="row", how="left").select(
        "row",
        pl.col("unapplied").fill_null(False),
        as_of="requested",
        behind_us=pl.lit(0, pl.Int64),
        **never,
    )


def _beside_history(rows: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """With `exists`, the version is there, and `next`, the time of the row that follows it."""
    followed = rows.sort("served").join_asof(
        history.rename({"ts": "next"}),
        left_on="served",
        right_on="next",
        by="key",
        strategy="forward",
        allow_exact_matches=False,
        check_sortedness=False,
    )
    versions = history.rename({"ts": "served"}).with_columns(exists=True)
    found = followed.join(versions, on=["key", "served"], how="left")
    return found.with_columns(pl.col("exists").fill_null(False))


def _beside_events(rows: pl.DataFrame, caused: pl.DataFrame) -> pl.DataFrame:
    """With the live events of two rows, the version and the row that follows it.

    - `n_at_instant`, how many the version has, and `caused`, when the first arrived; 0, -1 for none
    - `known`, when the row that follows the version came to be
    """
    of_version, of_next = (caused.rename({"ts": name}) for name in ("served", "next"))
    of_next = of_next.select("key", "next", pl.col("caused").alias("known"))
    return (
        rows.join(of_version, on=["key", "served"], how="left")
        .join(of_next, on=["key", "next"], how="left")
        .with_columns(
            pl.col("n_at_instant").fill_null(0),
            pl.col("caused").fill_null(-1),
            pl.max_horizontal("next", "known").alias("known"),
        )
    )


def _rewritten(rows: pl.DataFrame, events: pl.DataFrame) -> pl.Series:
    """The row numbers of the versions that an event may have rewritten since the request.

    Such an event

    - is not after the version,
    - arrived later than the first event of the version, and
    - did not have to be applied at the request.
    """
    becomes = pl.col("time") + CAUSED_AFTER_US
    first = pl.lit(rows["applied"].min(), pl.Int64)  # null, and so no event, without rows
    not_applied = events.filter(pl.col("received") > first)
    found = rows.join(not_applied, on="key").filter(
        becomes <= pl.col("served"),
        pl.col("received") > pl.col("caused") - _SWAPPED_US,
        pl.col("received") > pl.col("applied"),
        # The only event of its instant made the version, unless it came too late for that.
        (becomes < pl.col("served"))
        | (pl.col("n_at_instant") > 1)
        | (pl.col("received") > pl.col("requested")),
    )
    return found["row"].unique()
