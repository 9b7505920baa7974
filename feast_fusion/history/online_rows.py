"""Writes rows of one view to an online store."""

from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.utils import _convert_arrow_to_proto

from feast_fusion.history.view_schema import ViewSchema, check_vectors

_WRITE_ROWS = 1_000


@dataclass(frozen=True)
class OnlineWriter:
    """Writes rows of one view to the repository's online store in bounded batches."""

    repo_config: Any
    online_store: Any
    view: Any
    schema: ViewSchema

    def write(self, table: pa.Table) -> None:
        """Write every row of `table`; an older or equal row never replaces a newer one online.

        A store that has `write_table(config, view, table)`, as `MatrixRedisOnlineStore` has, is
        given the table; any other is given Feast's messages, row by row.

        Raises
        ------
        SchemaError
            A vector has a wrong width or a value that is not finite.
        """
        table = table.select(self.schema.arrow.names)
        write_table = getattr(self.online_store, "write_table", None)
        if write_table is not None:
            write_table(self.repo_config, self.view, table)
        else:
            self._write_messages(table)

    def _write_messages(self, table: pa.Table) -> None:
        check_vectors(table, self.schema)
        types = {field.name: field.dtype.to_value_type() for field in self.view.entity_columns}
        if DUMMY_ENTITY_ID in types:
            constant = pa.array([DUMMY_ENTITY_VAL] * table.num_rows, pa.string())
            table = table.append_column(DUMMY_ENTITY_ID, constant)
        configured = self.repo_config.materialization_config.online_write_batch_size
        # Feast converts only the first chunk of a table, so it is given single batches.
        for batch in table.combine_chunks().to_batches(configured or _WRITE_ROWS):
            rows = [
                # Feast makes NaT of a null, which not every online store takes.
                (key, values, at, None if created is pd.NaT else created)
                for key, values, at, created in _convert_arrow_to_proto(batch, self.view, types)
            ]
            self.online_store.online_write_batch(
                self.repo_config, self.view, rows, lambda _written: None
            )
