"""Which items are worth ranking for a user: nearest to the user's vectors, and popular ones."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray

from transformations.errors import FeatureNotFoundError
from transformations.workspace import Workspace


@dataclass(frozen=True)
class Catalogue:
    """The items as they are now.

    Parameters
    ----------
    item_ids : n ids, most popular first (positive events, then all events, then id)
    vectors : (n, d) float32, L2-normalised; zero rows where `has_vector` is False
    has_vector : (n,) bool
    """

    item_ids: Sequence[str]
    vectors: NDArray[np.float32]
    has_vector: NDArray[np.bool_]

    def candidates(
        self, queries: Iterable[NDArray[np.float32]], seen: set[str], n: int
    ) -> list[str]:
        """At most `n` unseen items: the nearest to each query and the popular, in equal shares.

        Sources take turns, so each keeps its best when they overlap or one runs dry; fewer than `n`
        come back only when the catalogue has no more unseen items.
        """
        orders = [self._nearest(query, n + len(seen)) for query in queries]
        orders.append(np.arange(len(self.item_ids)))
        chosen: dict[str, None] = {}
        for rank in range(len(self.item_ids)):
            for order in orders:
                if rank < len(order) and self.item_ids[order[rank]] not in seen:
                    chosen[self.item_ids[order[rank]]] = None
                if len(chosen) == n:
                    return list(chosen)
        return list(chosen)

    def _nearest(self, query: NDArray[np.float32], n: int) -> NDArray[np.intp]:
        scores = np.where(self.has_vector, self.vectors @ query, -np.inf)  # (n_items,)
        top = np.argpartition(-scores, min(n, len(scores) - 1))[:n]
        ordered = top[np.argsort(-scores[top], kind="stable")]
        return ordered[np.isfinite(scores[ordered])]


def load_catalogue(workspace: Workspace, encoder_id: str | None, dimension: int) -> Catalogue:
    """The newest vector and popularity of every prepared item.

    Raises
    ------
    FeatureNotFoundError
        Nothing was prepared.
    """
    path = workspace.sources / "items.parquet"
    if not path.is_file():
        raise FeatureNotFoundError(
            f"{path}: got no such file, expected the prepared items. Run feast-fusion prepare."
        )
    items = pl.read_parquet(path, columns=["item_id"]).unique()
    counts = _newest(
        workspace.sources / "item_stats.parquet", ["item_id", "n_positive", "n_events"]
    )
    ranked = items.join(counts, on="item_id", how="left").sort(
        pl.col("n_positive").fill_null(0),
        pl.col("n_events").fill_null(0),
        "item_id",
        descending=[True, True, False],
    )
    item_ids = ranked["item_id"].to_list()
    vectors = np.zeros((len(item_ids), dimension), dtype=np.float32)
    has_vector = np.zeros(len(item_ids), dtype=bool)
    if encoder_id is not None:
        sink = workspace.sinks / f"item_embedding__{encoder_id}"
        newest = _newest(sink, ["item_id", "item_embedding"]).drop_nulls("item_embedding")
        rows = pc.index_in(pa.array(newest["item_id"]), pa.array(item_ids)).to_numpy()
        vectors[rows] = np.stack(newest["item_embedding"].to_list()) if len(rows) else vectors[rows]
        has_vector[rows] = True
    return Catalogue(item_ids, vectors, has_vector)


def load_seen(workspace: Workspace, user_id: str) -> set[str]:
    """Items that the user has had an event with."""
    events = ds.dataset(workspace.sources / "interactions.parquet")
    rows = events.to_table(columns=["item_id"], filter=pc.field("user_id") == user_id)
    return set(rows["item_id"].to_pylist())


def _newest(path: Path, columns: list[str]) -> pl.DataFrame:
    """The newest row of each item in a Parquet file or folder."""
    table = ds.dataset(path, format="parquet").to_table(columns=[*columns, "event_timestamp"])
    return (
        pl.DataFrame(table)
        .sort("event_timestamp", maintain_order=True)
        .unique("item_id", keep="last", maintain_order=True)
    )
