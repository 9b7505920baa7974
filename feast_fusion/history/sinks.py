"""The sink that a view declares: a local folder, or an Iceberg table."""

from pathlib import Path
from typing import Any

from feast_fusion.errors import schema_error
from feast_fusion.history.folder_sink import FolderSink
from feast_fusion.history.history_sink import HistorySink
from feast_fusion.history.view_schema import ViewSchema
from feast_fusion.parquet.declared_source import is_table, local_path


def open_sink(view: Any, schema: ViewSchema, repo_path: str | Path | None) -> HistorySink:
    """The sink declared by `view` (its `sink_source`); nothing is read or created yet.

    Raises
    ------
    SchemaError
        The sink is neither a local folder of Parquet files nor an Iceberg table, or has not the
        view's own column names.
    MissingExtraError
        It is an Iceberg table, and pyiceberg is not installed.
    """
    source, what = view.batch_source, f"Feature view {view.name!r}, sink_source"
    if source.field_mapping:
        raise schema_error(
            what,
            got=f"field_mapping {dict(source.field_mapping)}",
            expected="none: a sink has the view's own names",
            remedy="Leave field_mapping out.",
        )
    if is_table(source):
        from feast_fusion.tables.iceberg_sink import IcebergSink  # an extra

        return IcebergSink(source.path, schema)
    return FolderSink(local_path(source, repo_path, what), schema)
