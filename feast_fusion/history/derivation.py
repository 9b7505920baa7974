"""How the rows of a feature view come about: which source is read, what transforms it, where to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
from feast import FeatureView, StreamFeatureView

from feast_fusion.errors import schema_error
from feast_fusion.history.history_sink import HistorySink
from feast_fusion.history.sinks import open_sink
from feast_fusion.history.table_rows import Rows, Window, pull_rows
from feast_fusion.history.view_schema import ViewSchema, python_frame, view_schema
from feast_fusion.parquet.declared_source import is_parquet
from feast_fusion.parquet.opening import open_source

Transformation = Callable[[pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True)
class Derivation:
    """The way from a source to a view.

    Parameters
    ----------
    origin : the view whose batch source is read: `view` itself, or the far end of its upstream
        views
    transformations : applied in this order; empty where rows are stored as they are
    sink : where the history of the view is kept; None where it is not kept
    """

    view: Any
    origin: Any
    schema: ViewSchema
    transformations: tuple[Transformation, ...]
    sink: HistorySink | None

    @property
    def timestamp(self) -> str:
        """The event timestamp column of the source."""
        return str(self.origin.batch_source.timestamp_field)

    def open_rows(self, repo_config: Any, offline_store: Any, window: Window) -> Rows:
        """The rows of the source, at least those of `window`.

        Parquet is read in a stream. Any other source comes through the offline store as one
        table, so its window has to fit in memory.
        """
        source = self.origin.batch_source
        what = f"Feature view {self.view.name!r}, source {source.name!r}"
        if is_parquet(source):
            return open_source(source, repo_config.repo_path, what)
        return pull_rows(self.origin, repo_config, offline_store, window, what)

    def input_columns(self, rows: Rows) -> tuple[str, ...]:
        """What a transformation receives: the upstream view's columns, or the whole source.

        The view's own keys and timestamps are among them wherever the source has them.
        """
        if self.origin is self.view:
            return rows.columns
        identity = (*self.schema.keys, *self.schema.ordering)
        own = [name for name in identity if name in rows.columns]
        return tuple(dict.fromkeys([*view_schema(self.origin).arrow.names, *own]))

    def transform(self, table: pa.Table) -> pd.DataFrame:
        """The rows of `table` through every transformation.

        Raises what a transformation raises, with a note that says which rows it was given.
        """
        frame = python_frame(table)
        for transformation in self.transformations:
            try:
                frame = transformation(frame)
            except Exception as error:
                first = table.slice(0, 1).select([*table.column_names[:3]]).to_pylist()
                error.add_note(
                    f"Raised by the transformation of feature view {self.view.name!r} on "
                    f"{table.num_rows} rows, the first being {first}. Nothing is lost: correct the "
                    "transformation and run the same command again."
                )
                raise
            if not isinstance(frame, pd.DataFrame):
                raise schema_error(
                    f"Feature view {self.view.name!r}, its transformation",
                    got=f"{type(frame).__name__}",
                    expected="a pandas DataFrame",
                    remedy="Return a DataFrame with the join keys, the features and the timestamp.",
                )
        return frame


def derive(view: Any, repo_config: Any) -> Derivation:
    """The derivation of `view`; reads and creates nothing.

    Raises
    ------
    SchemaError
        The view asks for what this engine does not do: more than one upstream view, aggregations,
        a transformation that is not pandas or python, or a history written into its own source.
    """
    chain = _upstream(view)
    transformations = tuple(
        found for step in reversed(chain) if (found := _transformation(step)) is not None
    )
    if chain[-1].batch_source is None:
        raise schema_error(
            f"Feature view {chain[-1].name!r}",
            got="no source",
            expected="a batch source",
            remedy="Declare source=FileSource(...) on it.",
        )
    schema = view_schema(view)
    sink = None
    if view.offline and len(chain) > 1:
        sink = open_sink(view, schema, repo_config.repo_path)
    elif view.offline and transformations:
        raise schema_error(
            f"Feature view {view.name!r}",
            got="offline=True with a data source as its source",
            expected="source=[a feature view] and a sink_source",
            remedy="Its history would be written into its own input: declare a FeatureView on the "
            "data source, and here source=[that view], sink_source=FileSource(path='a folder').",
        )
    return Derivation(view, chain[-1], schema, transformations, sink)


def is_derived(view: Any) -> bool:
    """Whether `view` has rows of its own to compute rather than those of its source."""
    return isinstance(view, FeatureView) and bool(
        view.source_views
        or getattr(view, "feature_transformation", None)
        or getattr(view, "aggregations", None)
    )


def _upstream(view: Any) -> list[Any]:
    """`view`, the view it is derived from, and so on to the one with a source."""
    chain = [view]
    while chain[-1].source_views:
        sources = chain[-1].source_views
        if len(sources) > 1:
            raise schema_error(
                f"Feature view {chain[-1].name!r}",
                got=f"{len(sources)} upstream views {[source.name for source in sources]}",
                expected="one",
                remedy="Join them in the data of one source, or derive one view from each.",
            )
        chain.append(sources[0])
    return chain


def _transformation(view: Any) -> Transformation | None:
    if getattr(view, "aggregations", None):
        raise schema_error(
            f"Feature view {view.name!r}",
            got="aggregations",
            expected="none, since HistoryEngine keeps every row",
            remedy="Aggregate in the data of the source, one row per change.",
        )
    declared = getattr(view, "feature_transformation", None)
    if declared is None:
        return None
    mode = getattr(declared.mode, "value", declared.mode)
    if isinstance(view, StreamFeatureView) or mode not in ("pandas", "python"):
        kind = "StreamFeatureView" if isinstance(view, StreamFeatureView) else f"mode {mode!r}"
        raise schema_error(
            f"Feature view {view.name!r}, its transformation",
            got=kind,
            expected="a BatchFeatureView with mode='pandas' or mode='python'",
            remedy="Declare a BatchFeatureView whose udf takes and returns a pandas DataFrame.",
        )
    udf: Transformation = declared.udf
    return udf
