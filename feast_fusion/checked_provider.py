"""Feast's provider that refuses pushed rows which Feast's own messages would change in silence."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import pyarrow as pa
from feast.infra.passthrough_provider import PassthroughProvider

from feast_fusion.errors import SchemaError
from feast_fusion.online.codec.list_nulls import check_nulls_inside
from feast_fusion.online.refusals import RefusedRowsError


class CheckedProvider(PassthroughProvider):  # type: ignore[misc]
    """What `provider: feast_fusion.checked_provider.CheckedProvider` names.

    A push reaches an online store as messages, which have `''` or `False` for a null inside a list
    of texts or booleans. Here the rows are still as they were sent.
    """

    def ingest_df(
        self, feature_view: Any, df: pd.DataFrame, field_mapping: Mapping[str, str] | None = None
    ) -> None:
        """As Feast's.

        Raises
        ------
        RefusedRowsError
            A list has a null inside that its type cannot keep; nothing of the push is written.
        """
        _check(feature_view, df)
        super().ingest_df(feature_view, df, field_mapping)

    async def ingest_df_async(
        self, feature_view: Any, df: pd.DataFrame, field_mapping: Mapping[str, str] | None = None
    ) -> None:
        """As `ingest_df`."""
        _check(feature_view, df)
        await super().ingest_df_async(feature_view, df, field_mapping)


def _check(view: Any, frame: pd.DataFrame) -> None:
    for field in view.features:
        column = frame.get(field.name)
        if column is None or not column.map(lambda value: hasattr(value, "__iter__")).any():
            continue
        where = f"Feature view {view.name!r}, column {field.name!r}"
        try:
            check_nulls_inside(where, pa.array(column), field.dtype.to_value_type())
        except pa.ArrowException:
            continue  # not lists of one type, which Feast refuses itself
        except SchemaError as error:
            raise RefusedRowsError(str(error)) from error
