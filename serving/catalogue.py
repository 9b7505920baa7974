"""The items as they are now: titles, popularity, freshness, vectors, and who has seen them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray

from feast_fusion.errors import FeatureNotFoundError
from intake.workspace import Workspace
from serving.seen_items import SeenItems, load_seen_items
from serving.vector_index import VectorIndex

Rows = NDArray[np.int64]
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Catalogue:
    """n items; an item's row is its place by popularity (positive events, all events, id).

    Attributes
    ----------
    item_ids, titles : n each; a title may be None
    popularity : (n,) between 0 and 1, descending; positive events relative to the most popular
    acted_on : (n,) bool, whether anybody has had an event with it
    fresh : (n,) rows, the newest first version first, of one instant those with fewer events first
    index : of the newest vectors
    seen : who has seen what
    """

    item_ids: Sequence[str]
    titles: Sequence[str | None]
    popularity: Vectors
    acted_on: NDArray[np.bool_]
    fresh: Rows
    index: VectorIndex
    seen: SeenItems

    def __len__(self) -> int:
        return len(self.item_ids)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Item id to row."""
        return {item_id: row for row, item_id in enumerate(self.item_ids)}

    def rows_of(self, item_ids: Iterable[str]) -> Rows:
        """(k,) rows of those that the catalogue has."""
        found = [self.row_of[item_id] for item_id in item_ids if item_id in self.row_of]
        return np.array(found, dtype=np.int64)

    def title(self, item_id: str) -> str | None:
        """The newest title, None where there is none."""
        row = self.row_of.get(item_id)
        return None if row is None else self.titles[row]

    def vector(self, item_id: str) -> Vectors | None:
        """(d,) the newest vector, None where there is none."""
        row = self.row_of.get(item_id)
        return None if row is None or not self.index.present[row] else self.index.vectors[row]


def load_catalogue(workspace: Workspace, encoder_id: str | None, dimension: int) -> Catalogue:
    """The catalogue as last prepared and materialised.

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
    items = _load_items(workspace)
    item_ids = items["item_id"].to_list()
    vectors, present = _load_vectors(workspace, encoder_id, dimension, item_ids)
    n_positive = items["n_positive"].to_numpy()
    return Catalogue(
        item_ids=item_ids,
        titles=items["title"].to_list(),
        popularity=((n_positive + 0.5) / (n_positive.max(initial=0) + 1.0)).astype(np.float32),
        acted_on=items["n_events"].to_numpy() > 0,
        fresh=items.with_row_index("row")
        .sort("first_version", "n_events", "row", descending=[True, False, False])["row"]
        .to_numpy()
        .astype(np.int64),
        index=VectorIndex(vectors, present),
        seen=load_seen_items(workspace.sources / "interactions.parquet", item_ids),
    )


def _load_items(workspace: Workspace) -> pl.DataFrame:
    """One row per item, most popular first: item_id, title, first_version, its counts."""
    versions = pl.read_parquet(workspace.sources / "items.parquet")
    order = [name for name in ("event_timestamp", "created") if name in versions.columns]
    title = pl.col(workspace.dataset.items.title).cast(pl.String)
    items = (
        versions.sort(order, maintain_order=True)
        .group_by("item_id", maintain_order=True)
        .agg(title=title.last(), first_version=pl.col("event_timestamp").first())
    )
    statistics = pl.read_parquet(
        workspace.sources / "item_stats.parquet",
        columns=["item_id", "event_timestamp", "n_positive", "n_events"],
    )
    newest = statistics.sort("event_timestamp", maintain_order=True).unique("item_id", keep="last")
    counts = pl.col("n_positive", "n_events").fill_null(0)
    return (
        items.join(newest.drop("event_timestamp"), on="item_id", how="left")
        .with_columns(counts)
        .sort("n_positive", "n_events", "item_id", descending=[True, True, False])
    )


def _load_vectors(
    workspace: Workspace, encoder_id: str | None, dimension: int, item_ids: list[str]
) -> tuple[Vectors, NDArray[np.bool_]]:
    """(n, d) newest vectors, zero where there is none, and (n,) whether there is one."""
    vectors = np.zeros((len(item_ids), dimension), dtype=np.float32)
    present = np.zeros(len(item_ids), dtype=bool)
    sink = workspace.sinks / f"item_embedding__{encoder_id}"
    if encoder_id is None or not sink.is_dir():
        return vectors, present
    table = ds.dataset(sink, format="parquet").to_table(
        columns=["item_id", "event_timestamp", "item_embedding"]
    )
    row = pc.index_in(table["item_id"], pa.array(item_ids, table.schema.field("item_id").type))
    newest = (
        pl.DataFrame({"row": pl.Series(row), "time": pl.Series(table["event_timestamp"])})
        .with_row_index("at")
        .drop_nulls("row")
        .sort("time", maintain_order=True)
        .unique("row", keep="last", maintain_order=True)
    )
    column = table["item_embedding"].take(newest["at"].to_numpy()).combine_chunks()
    known = column.is_valid().to_numpy(zero_copy_only=False)
    rows = newest["row"].to_numpy()[known]
    vectors[rows] = column.drop_null().flatten().to_numpy().reshape(-1, dimension)
    present[rows] = True
    return vectors, present
