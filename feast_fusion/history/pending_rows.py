"""Which rows of a source a sink does not have yet."""

import polars as pl
import pyarrow as pa

from feast_fusion.history.derivation import Derivation
from feast_fusion.history.history_sink import HistorySink
from feast_fusion.history.row_identity import RowIdentity, take
from feast_fusion.history.row_keys import read_keys, span
from feast_fusion.history.table_rows import Rows, Window
from feast_fusion.parquet.parquet_source import POSITION, Positions


class PendingRows:
    """The rows of the window that are still to be transformed.

    Where the source has the columns of a row's identity, finished rows are left out before the
    transformation; otherwise after it. Of rows with one identity in a run the last counts (after a
    transformation that makes the identity: the last of the first batch).

    `positions` holds the rows of the source to transform: int64, ascending. `found_none` says that
    the source has no row in the window at all.
    """

    def __init__(
        self, derivation: Derivation, rows: Rows, sink: HistorySink, window: Window
    ) -> None:
        self.derivation, self.rows, self.sink = derivation, rows, sink
        self.columns = derivation.input_columns(rows)
        self.identity = RowIdentity.of(derivation.schema, rows.columns)
        self._seen = pl.DataFrame()
        types = self.identity.types if self.identity.is_given else pa.schema([])
        candidates = read_keys(rows, types, derivation.timestamp, window)
        self.found_none = not candidates.height
        if self.identity.is_given:
            self.positions = self._lacking(candidates)
        else:
            self.positions = candidates[POSITION].to_numpy()
            self._seen = sink.read_identities(self.identity.columns, None)

    def only_new(self, made: pa.Table) -> pa.Table:
        """The rows of `made`, a part of what is pending, that the sink does not have.

        Call it once for each part, in order.
        """
        identity = self.identity
        if identity.is_given:
            return made
        rows = identity.frame(made)
        new = rows.join(self._seen, on=identity.columns, how="anti", nulls_equal=True)
        self._seen = pl.concat([self._seen, new.select(identity.columns)], rechunk=False)
        return take(made, new)

    def _lacking(self, candidates: pl.DataFrame) -> Positions:
        identity = self.identity
        last = candidates.unique(identity.columns, keep="last", maintain_order=True)
        if last.height:
            met = span(last[identity.schema.timestamp])
            finished = self.sink.read_identities(identity.columns, met)
            last = last.join(finished, on=identity.columns, how="anti", nulls_equal=True)
        return last[POSITION].sort().to_numpy()
