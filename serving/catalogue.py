"""The items as they are now: titles, popularity, freshness, vectors, and who has seen them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
from numpy.typing import NDArray

from feast_fusion.column_names import vector_view
from feast_fusion.errors import FeatureNotFoundError
from intake.workspace import Workspace
from serving.seen_items import SeenItems, load_seen_items
from serving.vector_index import Rows, VectorIndex, Vectors
from transformations import names
from transformations.id_map import IdMap


@dataclass(frozen=True)
class Catalogue:
    """n items; an item's row is its place by popularity (positive events, all events, id).

    Attributes
    ----------
    items : the n item ids; the code of an item is its row
    titles : n titles, a title may be None
    popularity : (n,) between 0 and 1, descending; positive events relative to the most popular
    acted_on : (n,) bool, whether anybody has had an event with it
    fresh : (n,) rows, the newest first version first; of one instant, fewer events first
    index : of the newest vectors
    seen : who has seen what
    """

    items: IdMap
    titles: Sequence[str | None]
    popularity: Vectors
    acted_on: NDArray[np.bool_]
    fresh: Rows
    index: VectorIndex
    seen: SeenItems

    def __len__(self) -> int:
        return len(self.items)

    def rows_of(self, item_ids: Iterable[str]) -> Rows:
        """(k,) rows of the items that the catalogue has."""
        rows = self.items.codes(item_ids)
        return rows[rows >= 0]

    @cached_property
    def item_ids(self) -> list[str]:
        """The n item ids, by row."""
        found: list[str] = self.items.ids.to_pylist()
        return found

    def title(self, item_id: str) -> str | None:
        """The newest title, None where there is none."""
        row = self.items.code(item_id)
        return None if row is None else self.titles[row]

    def vector(self, item_id: str) -> Vectors | None:
        """(d,) the newest vector, None where there is none."""
        row = self.items.code(item_id)
        return None if row is None or not self.index.present[row] else self.index.vectors[row]


def load_catalogue(workspace: Workspace, encoder_id: str | None, dimension: int) -> Catalogue:
    """The catalogue as last prepared and materialised.

    Raises
    ------
    FeatureNotFoundError
        Nothing was prepared.
    """
    path = workspace.source(names.ITEMS)
    if not path.is_file():
        raise FeatureNotFoundError(
            f"{path}: got no such file, expected the prepared items. Run feast-fusion prepare."
        )
    table = _load_items(workspace)
    items = IdMap(pa.array(table["item_id"].to_list(), pa.string()))
    vectors, present = _load_vectors(item_sink(workspace, encoder_id), dimension, items)
    n_positive = table["n_positive"].to_numpy()
    return Catalogue(
        items=items,
        titles=table["title"].to_list(),
        popularity=((n_positive + 0.5) / (n_positive.max(initial=0) + 1.0)).astype(np.float32),
        acted_on=table["n_events"].to_numpy() > 0,
        fresh=table.with_row_index("row")
        .sort("first_version", "n_events", "row", descending=[True, False, False])["row"]
        .to_numpy()
        .astype(np.int64),
        index=VectorIndex(vectors, present),
        seen=load_seen_items(workspace.source(names.INTERACTIONS), items),
    )


def _load_items(workspace: Workspace) -> pl.DataFrame:
    """One row per item, most popular first: item_id, title, first_version, its counts."""
    versions = pl.read_parquet(workspace.source(names.ITEMS))
    order = [name for name in ("event_timestamp", "created") if name in versions.columns]
    title = pl.col(workspace.dataset.items.title).cast(pl.String)
    items = (
        versions.sort(order, maintain_order=True)
        .group_by("item_id", maintain_order=True)
        .agg(title=title.last(), first_version=pl.col("event_timestamp").first())
    )
    statistics = pl.read_parquet(
        workspace.source(names.ITEM_STATS),
        columns=["item_id", "event_timestamp", "n_positive", "n_events"],
    )
    newest = statistics.sort("event_timestamp", maintain_order=True).unique("item_id", keep="last")
    counts = pl.col("n_positive", "n_events").fill_null(0)
    return (
        items.join(newest.drop("event_timestamp"), on="item_id", how="left")
        .with_columns(counts)
        .sort("n_positive", "n_events", "item_id", descending=[True, True, False])
    )


def item_sink(workspace: Workspace, encoder_id: str | None) -> Path | None:
    """The folder of the item vectors' history, None without an encoder."""
    if encoder_id is None:
        return None
    return workspace.sinks / vector_view(names.ITEM_EMBEDDING, encoder_id)


def _load_vectors(
    sink: Path | None, dimension: int, items: IdMap
) -> tuple[Vectors, NDArray[np.bool_]]:
    """(n, d) newest vectors, zero where there is none, and (n,) whether there is one."""
    vectors = np.zeros((len(items), dimension), dtype=np.float32)
    present = np.zeros(len(items), dtype=bool)
    if sink is None or not sink.is_dir():
        return vectors, present
    table = ds.dataset(sink, format="parquet").to_table(
        columns=["item_id", "event_timestamp", names.ITEM_EMBEDDING]
    )
    row = items.codes(table["item_id"])
    newest = (
        pl.DataFrame({"row": row, "time": pl.Series(table["event_timestamp"])})
        .with_row_index("at")
        .filter(pl.col("row") >= 0)
        .sort("time", maintain_order=True)
        .unique("row", keep="last", maintain_order=True)
    )
    column = table[names.ITEM_EMBEDDING].take(newest["at"].to_numpy()).combine_chunks()
    known = column.is_valid().to_numpy(zero_copy_only=False)
    rows = newest["row"].to_numpy()[known]
    vectors[rows] = column.drop_null().flatten().to_numpy().reshape(-1, dimension)
    present[rows] = True
    return vectors, present
