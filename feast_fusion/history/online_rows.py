"""Writes rows of one view to an online store."""

from typing import Any

import pandas as pd
import pyarrow as pa
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.utils import _convert_arrow_to_proto

from feast_fusion.history.view_schema import ViewSchema, check_vectors

_WRITE_ROWS = 1_000


def write_online(
    repo_config: Any, online_store: Any, view: Any, schema: ViewSchema, table: pa.Table
) -> None:
    """Write the rows of `table`; an older or equal row never replaces a newer one online.

    A store that has `write_table(config, view, table)`, as `MatrixRedisOnlineStore` has, is given
    the table; any other is given Feast's messages in bounded batches.

    Raises
    ------
    SchemaError
        A vector has a wrong width or a value that is not finite.
    """
    table = table.select(schema.arrow.names)
    if hasattr(online_store, "write_table"):
        online_store.write_table(repo_config, view, table)
        return
    check_vectors(table, schema)
    types = {field.name: field.dtype.to_value_type() for field in view.entity_columns}
    if DUMMY_ENTITY_ID in types:
        constant = pa.array([DUMMY_ENTITY_VAL] * table.num_rows, pa.string())
        table = table.append_column(DUMMY_ENTITY_ID, constant)
    configured = repo_config.materialization_config.online_write_batch_size
    # Feast converts only the first chunk of a table, so it is given single batches.
    for batch in table.combine_chunks().to_batches(configured or _WRITE_ROWS):
        rows = [
            # Feast makes NaT of a null, which not every online store takes.
            (key, values, at, None if created is pd.NaT else created)
            for key, values, at, created in _convert_arrow_to_proto(batch, view, types)
        ]
        online_store.online_write_batch(repo_config, view, rows, lambda _written: None)
