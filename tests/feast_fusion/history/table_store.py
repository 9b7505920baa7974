"""A small real plug-in: an offline store whose sources are tables of a SQLite file."""

import json
import sqlite3
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
from feast.data_source import DataSource
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob
from feast.protos.feast.core.DataSource_pb2 import DataSource as DataSourceProto
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.value_type import ValueType

TYPES = {"TEXT": ValueType.STRING, "INTEGER": ValueType.INT64}


class TableSource(DataSource):
    """The table `name` of `database`; `at` is in seconds since the epoch."""

    def __init__(self, *, database: str, name: str, field_mapping: dict[str, str]) -> None:
        super().__init__(name=name, timestamp_field="at", field_mapping=field_mapping)
        self.database = database

    def source_type(self) -> int:
        return int(DataSourceProto.CUSTOM_SOURCE)

    @staticmethod
    def from_proto(data_source: DataSourceProto) -> "TableSource":
        return TableSource(
            database=json.loads(data_source.custom_options.configuration),
            name=data_source.name,
            field_mapping=dict(data_source.field_mapping),
        )

    def _to_proto_impl(self) -> DataSourceProto:
        options = DataSourceProto.CustomSourceOptions(
            configuration=json.dumps(self.database).encode()
        )
        return DataSourceProto(
            name=self.name,
            type=DataSourceProto.CUSTOM_SOURCE,
            data_source_class_type="tests.feast_fusion.history.table_store.TableSource",
            field_mapping=self.field_mapping,
            custom_options=options,
            timestamp_field=self.timestamp_field,
        )

    def validate(self, config: RepoConfig) -> None:
        pass

    @staticmethod
    def source_datatype_to_feast_value_type() -> Callable[[str], ValueType]:
        return lambda name: TYPES[name]

    def get_table_column_names_and_types(self, config: RepoConfig) -> Iterable[tuple[str, str]]:
        rows = _query(self.database, "SELECT name, type FROM pragma_table_info(?)", self.name)
        return [(str(name), str(kind)) for name, kind in rows]


class TableJob(RetrievalJob):
    def __init__(self, table: pa.Table) -> None:
        self._table = table

    full_feature_names = False
    on_demand_feature_views: tuple[Any, ...] = ()
    metadata = None

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return self._table.to_pandas()

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._table


class TableOfflineStoreConfig(FeastConfigBaseModel):
    type: Literal["tests.feast_fusion.history.table_store.TableOfflineStore"]


class TableOfflineStore(OfflineStore):
    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        assert isinstance(data_source, TableSource) and start_date and end_date
        names = [*join_key_columns, *feature_name_columns, timestamp_field]
        rows = _query(
            data_source.database,
            f"SELECT {', '.join(names)} FROM {data_source.name} WHERE {timestamp_field} "
            "BETWEEN ? AND ? ORDER BY rowid",
            start_date.timestamp(),
            end_date.timestamp(),
        )
        columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
        columns[timestamp_field] = pa.array(columns[timestamp_field], pa.timestamp("s"))
        return TableJob(pa.table(columns))


def _query(database: str, query: str, *arguments: object) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(database)
    try:
        return list(connection.execute(query, arguments))
    finally:
        connection.close()
