"""The entity table of a retrieval without one: what the sources hold of two times."""

from collections.abc import Sequence
from datetime import datetime

import polars as pl
import pyarrow as pa

from feast_fusion.errors import schema_error
from feast_fusion.retrieval.entity_table import EVENT_TIMESTAMP, EntityTable
from feast_fusion.retrieval.feature_join import FeatureJoin
from feast_fusion.times import TIMESTAMP, to_micros


def entities_between(joins: Sequence[FeatureJoin], start: datetime, end: datetime) -> EntityTable:
    """One row for each entity and event timestamp within two times, both of which are in it.

    The rows come from the views that have all join keys of the retrieval; a view with some of
    them, or with none, is joined to these. They are in the order of time, then of the keys. Rows
    with a null key are left out.

    Raises
    ------
    SchemaError
        No view has the join keys of all.
    """
    keys = max((join.entity_keys for join in joins), key=len, default=())
    lacking = [join for join in joins if not set(join.entity_keys) <= set(keys)]
    if lacking:
        raise schema_error(
            "retrieval by start_date and end_date",
            got=f"feature views with the join keys {list(keys)} and {list(lacking[0].entity_keys)}",
            expected="one view that has the join keys of all",
            remedy="Give an entity table that says which of them belong together, or retrieve "
            "the views one by one.",
        )
    edges = to_micros(start), to_micros(end)
    nothing = pa.schema([(EVENT_TIMESTAMP, TIMESTAMP)]).empty_table()
    complete = [join for join in joins if set(join.entity_keys) == set(keys)]
    found = pa.concat_tables(
        [join.identities(edges) for join in complete] or [nothing],
        promote_options="permissive",
    )
    rows = pl.DataFrame(pl.from_arrow(found)).drop_nulls().unique()
    rows = rows.sort([EVENT_TIMESTAMP, *keys])
    columns = {name: rows[name].to_arrow().cast(found.schema.field(name).type) for name in keys}
    times = rows[EVENT_TIMESTAMP].to_arrow().cast(TIMESTAMP)
    return EntityTable(pa.table(columns | {EVENT_TIMESTAMP: times}), EVENT_TIMESTAMP)
