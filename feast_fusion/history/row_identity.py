"""What the rows of a derived view are known by, and that a transformation keeps it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from feast_fusion.errors import schema_error
from feast_fusion.history.derivation import Derivation
from feast_fusion.history.view_schema import ViewSchema, conform
from feast_fusion.parquet.parquet_source import POSITION


@dataclass(frozen=True)
class RowIdentity:
    """The identity of a row: its join keys, its event timestamp, its created timestamp.

    Parameters
    ----------
    columns : of the identity; the created timestamp where both the sink and the source have one
    is_given : whether the source has these columns; then a transformation has to keep their
        values, and rows are known by them before they are transformed
    """

    schema: ViewSchema
    columns: tuple[str, ...]
    is_given: bool

    @classmethod
    def of(cls, schema: ViewSchema, source: Sequence[str]) -> "RowIdentity":
        """The identity of rows that are made of a source with these columns."""
        created = [schema.created] if schema.created and schema.created in source else []
        columns = (*schema.keys, schema.timestamp, *created)
        return cls(schema, columns, all(name in source for name in columns))

    @property
    def types(self) -> pa.Schema:
        """The columns with their types."""
        return self.schema.types(self.columns)

    def make_rows(self, derivation: Derivation, given: pa.Table) -> pa.Table:
        """What the transformation makes of `given`: of each identity the last row.

        Raises
        ------
        SchemaError
            The transformation changed a join key or timestamp that the source has.
        """
        made = conform(derivation.transform(given), self.schema)
        rows = self.frame(made)
        last = rows.unique(self.columns, keep="last", maintain_order=True)
        if self.is_given:
            self._refuse_changed(given, last)
        return take(made, last)

    def frame(self, rows: pa.Table) -> pl.DataFrame:
        """The identities of `rows`, and `__position`."""
        return pl.DataFrame(pl.from_arrow(rows.select(self.columns))).with_row_index(POSITION)

    def _refuse_changed(self, given: pa.Table, made: pl.DataFrame) -> None:
        before = pl.DataFrame(
            pl.from_arrow(given.select(self.columns).cast(self.types, safe=False))
        )
        changed = made.join(before, on=self.columns, how="anti", nulls_equal=True)
        if changed.height:
            raise schema_error(
                f"Feature view {self.schema.view!r}, its transformation",
                got=f"a row with {changed.select(self.columns).row(0, named=True)}, which no "
                "row of its input has",
                expected=f"the values of {list(self.columns)} kept, as the source has them",
                remedy="Finished rows are recognized by them before the transformation. Give a "
                "computed key or timestamp a name that the source does not have, and declare "
                "that name on the entity or as timestamp_field of sink_source.",
            )


def take(rows: pa.Table, kept: pl.DataFrame) -> pa.Table:
    """Those of `rows` whose `__position` is in `kept`, in their order."""
    if kept.height == rows.num_rows:
        return rows
    return rows.take(pa.array(np.sort(kept[POSITION].to_numpy())))
