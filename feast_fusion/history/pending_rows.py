"""Which rows of a source a sink does not have yet."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pyarrow as pa

from feast_fusion.errors import schema_error
from feast_fusion.history.derivation import Derivation
from feast_fusion.history.history_sink import HistorySink
from feast_fusion.history.row_keys import read_keys, span
from feast_fusion.history.table_rows import Rows, Window
from feast_fusion.history.view_schema import conform
from feast_fusion.parquet.parquet_source import POSITION, Positions


class PendingRows:
    """The rows of the window that are still to be transformed.

    The identity of a row is its join keys and event timestamp, and its created timestamp where
    both the sink and the source have one. Where the source has these columns, finished rows are
    left out before the transformation; otherwise after it. Of rows with one identity in a run
    the last counts (after a transformation that makes the identity: the last of the first batch).

    `positions` holds the rows of the source to transform: int64, ascending. `found_none` says that
    the source has no row in the window at all.
    """

    def __init__(
        self, derivation: Derivation, rows: Rows, sink: HistorySink, window: Window
    ) -> None:
        self._derivation, self._rows, self._sink = derivation, rows, sink
        self._schema = schema = derivation.schema
        source = rows.columns
        created = [schema.created] if schema.created and schema.created in source else []
        self._identity = [*schema.keys, schema.timestamp, *created]
        self._known_before = all(name in source for name in self._identity)
        self._seen = pl.DataFrame()
        if self._known_before:
            types = schema.types(self._identity)
            candidates = read_keys(rows, types, derivation.timestamp, window)
            self.found_none = not candidates.height
            self.positions = self._lacking(candidates, sink)
        else:
            everything = read_keys(rows, pa.schema([]), derivation.timestamp, window)
            self.found_none = not everything.height
            self.positions = everything[POSITION].to_numpy()
            self._seen = sink.read_identities(tuple(self._identity), None)

    def complete(self, batch_rows: int, advance: Callable[[int], object]) -> int:
        """Transform these rows and add what is new to the sink, batch by batch; how many.

        Parameters
        ----------
        advance : called with the rows of each finished batch
        """
        derivation, n_added = self._derivation, 0
        columns = derivation.input_columns(self._rows)
        for given in self._rows.gather(columns, self.positions, batch_rows):
            made = conform(derivation.transform(given), derivation.schema)
            added = self.only_new(given, made)
            if added.num_rows:
                self._sink.append(added)
            n_added += added.num_rows
            advance(given.num_rows)
        return n_added

    def only_new(self, given: pa.Table, made: pa.Table) -> pa.Table:
        """The rows of `made`, the transformation of `given`, that the sink does not have.

        Raises
        ------
        SchemaError
            The transformation changed a join key or timestamp that the source has.
        """
        frame = pl.DataFrame(pl.from_arrow(made.select(self._identity))).with_row_index(POSITION)
        last = frame.unique(self._identity, keep="last", maintain_order=True)
        if self._known_before:
            self._refuse_changed_identity(given, last)
            new = last
        else:
            new = last.join(self._seen, on=self._identity, how="anti", nulls_equal=True)
            self._seen = pl.concat([self._seen, new.select(self._identity)], rechunk=False)
        if new.height == made.num_rows:
            return made
        return made.take(pa.array(np.sort(new[POSITION].to_numpy())))

    def _lacking(self, candidates: pl.DataFrame, sink: HistorySink) -> Positions:
        last = candidates.unique(self._identity, keep="last", maintain_order=True)
        if last.height:
            met = span(last[self._schema.timestamp])
            finished = sink.read_identities(tuple(self._identity), met)
            last = last.join(finished, on=self._identity, how="anti", nulls_equal=True)
        return last[POSITION].sort().to_numpy()

    def _refuse_changed_identity(self, given: pa.Table, made: pl.DataFrame) -> None:
        types = self._schema.types(self._identity)
        before = pl.DataFrame(pl.from_arrow(given.select(self._identity).cast(types, safe=False)))
        changed = made.join(before, on=self._identity, how="anti", nulls_equal=True)
        if changed.height:
            raise schema_error(
                f"Feature view {self._schema.view!r}, its transformation",
                got=f"a row with {changed.select(self._identity).row(0, named=True)}, which no "
                "row of its input has",
                expected=f"the values of {self._identity} kept, as the source has them",
                remedy="Finished rows are recognized by them before the transformation. Give a "
                "computed key or timestamp a name that the source does not have, and declare "
                "that name on the entity or as timestamp_field of sink_source.",
            )
