"""A workspace with a catalogue many times as large: shifted copies of the items of a real one."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from numpy.typing import NDArray

from feast_fusion.column_names import vector_view
from intake.workspace import Workspace
from transformations.names import ITEM_EMBEDDING, ITEM_STATS, ITEMS


def enlarge(workspace: Workspace, home: Path, n: int) -> Workspace:
    """The workspace with at least `n` items: shifted copies of each, with its newest statistics."""
    large = Workspace(workspace.dataset, home)
    shutil.copytree(workspace.sources, large.sources)
    shutil.copytree(workspace.models, large.models)
    shutil.copytree(workspace.sinks, large.sinks)
    (sink,) = large.sinks.glob(vector_view(ITEM_EMBEDDING, "*"))
    for path in (large.source(ITEMS), large.source(ITEM_STATS), sink):
        schema, rows = ds.dataset(path, format="parquet").schema, _newest(path)
        rows = _copy_items(rows, -(-n // len(rows)))
        if path == sink:
            rows = _shifted(rows)
            shutil.rmtree(sink)
            sink.mkdir()
            path = sink / "all.parquet"
        pq.write_table(rows.to_arrow().cast(schema), path)
    return large


def item_vectors(workspace: Workspace) -> NDArray[np.float32]:
    """(n, d) the newest vector of each item."""
    (sink,) = workspace.sinks.glob(vector_view(ITEM_EMBEDDING, "*"))
    return _matrix(_newest(sink))


def _matrix(rows: pl.DataFrame) -> NDArray[np.float32]:
    return np.stack(list(rows[ITEM_EMBEDDING].to_numpy())).astype(np.float32)


def _shifted(rows: pl.DataFrame) -> pl.DataFrame:
    """Each vector moved by a little noise: copies are near to each other, not the same."""
    matrix = _matrix(rows)
    matrix += 0.03 * np.random.default_rng(0).standard_normal(matrix.shape, dtype=np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    return rows.with_columns(pl.Series(ITEM_EMBEDDING, list(matrix), pl.List(pl.Float32)))


def _newest(path: Path) -> pl.DataFrame:
    rows = pl.DataFrame(ds.dataset(path, format="parquet").to_table())
    return rows.sort("event_timestamp").unique("item_id", keep="last", maintain_order=True)


def _copy_items(rows: pl.DataFrame, copies: int) -> pl.DataFrame:
    def named(copy: int) -> pl.Expr:
        return pl.col("item_id") if copy == 0 else pl.col("item_id") + f"~{copy}"

    return pl.concat([rows.with_columns(named(copy)) for copy in range(copies)])
