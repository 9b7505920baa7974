"""The registered sources as tables: an entity table by SQL, and statistics for monitoring."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from feast.data_source import DataSource
from feast.infra.offline_stores.duckdb import (
    _duckdb_categorical_stats,
    _duckdb_numeric_stats,
)
from feast.infra.registry.base_registry import BaseRegistry

from feast_fusion.errors import schema_error
from feast_fusion.parquet.declared_source import is_parquet
from feast_fusion.parquet.opening import open_source
from feast_fusion.parquet.parquet_source import POSITION
from feast_fusion.times import to_micros

_SELECT = re.compile(r"\s*(\(\s*)*(select|with|from)\s", re.IGNORECASE)


def is_query(text: str) -> bool:
    """Whether `text` is SQL and not a path.

    >>> is_query("SELECT user_id, event_timestamp FROM orders"), is_query("data/orders.parquet")
    (True, False)
    """
    return _SELECT.match(text) is not None


def run_query(
    query: str, registry: BaseRegistry, project: str, repo_path: str | Path | None
) -> pa.Table:
    """The rows of `query`, run by DuckDB, in which each registered source is a table.

    A table has the source's name, and its columns as the source names them. Only what the query
    names is read, all rows of it; files and the network are out of its reach.

    Raises
    ------
    SchemaError
        DuckDB refuses the query, or a source that it names.
    """
    sources = _sources(registry, project)
    with _connection() as connection:
        for name in (name for name in sources if _names(query, name)):
            opened = open_source(sources[name], repo_path, f"data source {name!r}")
            takes_all = "*" in query or not _names(query, "select")
            columns = [c for c in opened.columns if takes_all or _names(query, c)]
            connection.register(name, opened.read(columns))
        try:
            found: pa.Table = connection.sql(query).to_arrow_table()
        except duckdb.Error as error:
            raise schema_error(
                "entity table by SQL",
                got=str(error).splitlines()[0],
                expected=f"a query over the registered sources {sorted(sources)}",
                remedy="Correct the query, or give a table or the path of a Parquet file.",
            ) from error
    return found


def rows_between(
    source: DataSource,
    columns: Sequence[str],
    window: tuple[datetime | None, datetime | None],
    repo_path: str | Path | None,
) -> pa.Table:
    """`columns` of the rows of `source` within two times; None is no bound."""
    opened = open_source(source, repo_path, f"data source {source.name!r}")
    if window == (None, None):
        positions = np.arange(opened.n_rows)
    else:
        limits = np.iinfo(np.int64)
        start, end = window
        edges = (
            limits.min if start is None else to_micros(start),
            limits.max if end is None else to_micros(end),
        )
        positions = opened.keys([], source.timestamp_field, edges)[POSITION].to_numpy()
    parts = opened.gather(columns, positions, 1 << 16)
    return pa.concat_tables([opened.no_rows(columns), *parts])


def statistics(
    rows: pa.Table, feature_columns: Sequence[tuple[str, str]], histogram_bins: int, top_n: int
) -> list[dict[str, Any]]:
    """What Feast's duckdb store measures of the columns, each `numeric` or `categorical`."""
    numeric = [name for name, kind in feature_columns if kind == "numeric"]
    categorical = [name for name, kind in feature_columns if kind == "categorical"]
    with _connection() as connection:
        connection.register("rows", rows)
        found: list[dict[str, Any]] = []
        if numeric:
            found += _duckdb_numeric_stats(connection, "rows", numeric, "", histogram_bins)
        for name in categorical:
            found.append(_duckdb_categorical_stats(connection, "rows", name, "", top_n))
    return found


def _names(query: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", query, re.IGNORECASE) is not None


@contextmanager
def _connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(
        config={"python_enable_replacements": False, "enable_external_access": False}
    ) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def _sources(registry: BaseRegistry, project: str) -> dict[str, DataSource]:
    listed = registry.list_data_sources(project, allow_cache=True)
    batches = (getattr(source, "batch_source", None) for source in listed)
    found = [*listed, *(source for source in batches if source is not None)]
    return {source.name: source for source in found if is_parquet(source)}
