"""The columns of a source: those of its files, or those that its views need."""

from pathlib import Path

from feast import FeatureStore
from feast.data_source import DataSource
from feast.repo_config import RepoConfig

from feast_fusion.parquet.declared_source import is_parquet, local_path
from feast_fusion.parquet.declared_types import view_types
from feast_fusion.parquet.opening import open_source
from feast_fusion.parquet.parts import holds_nothing


def stored_columns(config: RepoConfig, source: DataSource) -> list[tuple[str, str]]:
    """Names and Arrow types of the columns in the files of `source`.

    A local source that holds nothing yet, as before the first push, has the columns that the
    registered views on it need.

    Raises
    ------
    SchemaError, StoreUnavailableError
        As `open_source`.
    """
    what = f"data source {source.name!r}"
    if not is_parquet(source):
        return list(source.get_table_column_names_and_types(config))
    is_local = "://" not in source.path
    if is_local and holds_nothing(local_path(source, config.repo_path, what)):
        found = _needed_columns(config, source)
        if found:
            return found
    schema = open_source(source, config.repo_path, what).schema
    return [(field.name, str(field.type)) for field in schema]


def _needed_columns(config: RepoConfig, source: DataSource) -> list[tuple[str, str]]:
    store = FeatureStore(config=config)
    if config.repo_path:
        store.repo_path = Path(config.repo_path)
    views = [
        *store.list_batch_feature_views(),
        *store.list_stream_feature_views(),
    ]
    stored = {new: old for old, new in (source.field_mapping or {}).items()}
    found: dict[str, str] = {}
    for view in views:
        if view.batch_source is not None and view.batch_source.name == source.name:
            for field in view_types(view):
                found.setdefault(stored.get(field.name, field.name), str(field.type))
    return list(found.items())
