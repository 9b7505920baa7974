"""A Feast batch engine that keeps the full history of a transformed view, and loses nothing.

`batch_engine: {type: feast_fusion.history_engine.HistoryEngine}` in any Feast repository.

A `BatchFeatureView(source=[view], sink_source=FileSource(folder), offline=True, udf=...)` is
materialized in two phases. First the rows of the window that the sink does not have yet go
through the transformation in batches of `batch_rows`, and each batch is added to the sink as one
file. Then the newest row of each entity in the window is read back from the sink and written
online. So offline comes first, a crash at any moment is completed by the next run, and memory
depends on the batch, not on the window. A view without a transformation goes online directly.

The contract of a transformation: it is row-wise. An output row depends on its own input row and
not on the batch around it, and where the source has the join keys and the timestamp under the
names that the sink has, the transformation keeps their values. This is what lets the engine skip
finished rows before the transformation runs. A transformation that must compute a key or the
timestamp gives it a name that the source does not have; then finished rows are left out after it.

A sink is a local folder or an Iceberg table, `FileSource(path="iceberg://CATALOG/NAMESPACE.TABLE")`.
Sinks are the user's data: `feast teardown` and a deleted view leave them where they are.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from feast import StreamFeatureView
from feast.infra.common.materialization_job import MaterializationJobStatus, MaterializationTask
from feast.infra.compute_engines.local.compute import LocalComputeEngine
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.repo_config import FeastConfigBaseModel
from pydantic import Field

from feast_fusion.column_names import split_view
from feast_fusion.errors import schema_error
from feast_fusion.history.derivation import Derivation, derive, is_derived
from feast_fusion.history.history_sink import HistorySink
from feast_fusion.history.online_rows import write_online
from feast_fusion.history.pending_rows import PendingRows
from feast_fusion.history.row_keys import read_keys
from feast_fusion.history.runner import LocalRunnerConfig, RunnerConfig, open_runner
from feast_fusion.history.table_rows import Rows, TableRows
from feast_fusion.history.view_schema import conform, declared_features
from feast_fusion.parquet.newest import newest
from feast_fusion.parquet.outside_window import warn_of_rows_outside
from feast_fusion.parquet.parquet_source import ParquetSource
from feast_fusion.times import to_micros

_log = logging.getLogger(__name__)

_AHEAD = (
    "%s: nothing was materialized: its last run ended at %s, after %s, where this one was to end. "
    "Run feast materialize with a start and an end to write what came since."
)


class HistoryEngineConfig(FeastConfigBaseModel):  # type: ignore[misc]
    """What `batch_engine` in feature_store.yaml may say.

    batch_rows: rows given to a transformation at once and written to a sink as one file;
    runner: who transforms them, `{type: local}` or `{type: ray, ...}`;
    backend: data frame backend of Feast's local engine, for its historical retrieval only.
    """

    type: Literal["feast_fusion.history_engine.HistoryEngine"] = (
        "feast_fusion.history_engine.HistoryEngine"
    )
    batch_rows: Annotated[int, Field(ge=1)] = 10_000
    runner: RunnerConfig = LocalRunnerConfig()
    backend: str | None = None


class HistoryEngine(LocalComputeEngine):  # type: ignore[misc]
    """Feast's local engine with materialization that keeps history (see the module)."""

    def __init__(
        self, *, repo_config: Any, offline_store: Any, online_store: Any, **options: Any
    ) -> None:
        self.options = HistoryEngineConfig(**options)
        self.runner = open_runner(self.options.runner, repo_config)
        super().__init__(
            backend=self.options.backend,
            repo_config=repo_config,
            offline_store=offline_store,
            online_store=online_store,
        )

    def update(
        self,
        project: str,
        views_to_delete: Sequence[Any],
        views_to_keep: Sequence[Any],
        entities_to_delete: Sequence[Any],
        entities_to_keep: Sequence[Any],
    ) -> None:
        """Create the sinks of derived views, so that they can be read before the first run.

        `feast apply` calls it, except with Feast's own sqlite online store, where it plans
        without engines; there the first run creates the sink.

        Raises
        ------
        SchemaError
            A view asks for what this engine does not do, or its sink cannot be its sink.
        """
        for view in views_to_keep:
            if is_derived(view) and not isinstance(view, StreamFeatureView):
                sink = derive(view, self.repo_config).sink
                if sink is not None:
                    sink.ensure()

    def add_rows(self, view: Any, table: pa.Table) -> None:
        """Materialize rows that the source of `view` is about to have, without reading the source.

        Materializing a window with them later finds them done. Raises what a transformation raises.

        Parameters
        ----------
        table : rows of the source, with all its columns
        """
        if not len(table):
            return
        derivation = derive(view, self.repo_config)
        times = pc.min_max(table[derivation.timestamp])
        start, end = times["min"].as_py(), times["max"].as_py()
        task = MaterializationTask(self.repo_config.project, view, start, end)
        rows = TableRows(f"Feature view {view.name!r}, new rows", table)
        entities = pl.DataFrame(table.select(list(derivation.schema.keys))).unique()
        self._bring(task, derivation, rows, entities)

    def _materialize_one(
        self, registry: Any, task: MaterializationTask, **kwargs: Any
    ) -> LocalMaterializationJob:
        job_id = f"{task.feature_view.name}-{task.start_time}-{task.end_time}"
        try:
            self._materialize(task)
        except Exception as error:  # the provider raises the error of a failed job
            return LocalMaterializationJob(job_id, MaterializationJobStatus.ERROR, error)
        return LocalMaterializationJob(job_id, MaterializationJobStatus.SUCCEEDED)

    def _materialize(self, task: MaterializationTask) -> None:
        view, window = task.feature_view, (task.start_time, task.end_time)
        if task.start_time > task.end_time:
            _log.warning(_AHEAD, view.name, task.start_time, task.end_time)
            return
        derivation = derive(view, self.repo_config)
        if derivation.sink is not None or view.online:
            rows = derivation.open_rows(self.repo_config, self.offline_store, window)
            self._bring(task, derivation, rows)

    def _bring(
        self,
        task: MaterializationTask,
        derivation: Derivation,
        rows: Rows,
        entities: pl.DataFrame | None = None,
    ) -> None:
        """The rows that lie in the task's window into the stores, online of some entities only."""
        view = task.feature_view
        if derivation.sink is None:
            if view.online:
                self._write_online(task, derivation, rows)
            return
        with derivation.sink.locked():
            self._extend_history(task, derivation, derivation.sink, rows)
            if view.online:
                self._write_online(task, derivation, derivation.sink.rows(), entities)

    def _extend_history(
        self, task: MaterializationTask, derivation: Derivation, sink: HistorySink, rows: Rows
    ) -> None:
        """Phase 1: what the sink lacks of the window is transformed and added to it."""
        pending = PendingRows(derivation, rows, sink, (task.start_time, task.end_time))
        label = f"{split_view(derivation.view.name)[0]} history"
        if pending.found_none:
            _warn_of_nothing(task, rows, derivation.timestamp)
        with _progress(task, label, len(pending.positions)) as advance:
            n_added = self.runner.complete(pending, self.options.batch_rows, advance)
        _log.debug(
            "%s: %d rows transformed, %d added to %s",
            derivation.view.name,
            len(pending.positions),
            n_added,
            sink.what,
        )

    def _write_online(
        self,
        task: MaterializationTask,
        derivation: Derivation,
        rows: Rows,
        entities: pl.DataFrame | None = None,
    ) -> None:
        """Phase 2: the newest row of each entity in the window goes to the online store."""
        schema = derivation.schema
        transforms = derivation.sink is None and bool(derivation.transformations)
        ordering = [n for n in schema.ordering if n in rows.columns or not transforms]
        if transforms:
            _refuse_unknown_keys(derivation, rows)
        timestamp = derivation.timestamp if derivation.sink is None else schema.timestamp
        types = schema.types((*schema.keys, *ordering))
        keys = read_keys(rows, types, timestamp, (task.start_time, task.end_time))
        if derivation.sink is None and not keys.height:
            _warn_of_nothing(task, rows, timestamp)
        if entities is not None:
            keys = keys.join(entities, on=schema.keys, how="semi", maintain_order="left")
        positions = newest(keys, schema.keys, ordering)
        n_null = keys.height - keys.drop_nulls(list(schema.keys)).height if schema.keys else 0
        if n_null:
            _log.warning(
                "%s: %d rows have a null join key and are not written online", schema.view, n_null
            )
        columns = derivation.input_columns(rows) if transforms else schema.arrow.names
        label = f"{split_view(schema.view)[0]} online"
        with _progress(task, label, len(positions)) as advance:
            for table in rows.gather(columns, positions, self.options.batch_rows):
                if transforms:
                    made = conform(derivation.transform(table), schema)
                else:
                    made = declared_features(table, derivation.view, rows.what)
                write_online(self.repo_config, self.online_store, derivation.view, schema, made)
                advance(table.num_rows)
        _log.debug("%s: %d entities written online", schema.view, len(positions))


def _warn_of_nothing(task: MaterializationTask, rows: Rows, timestamp: str) -> None:
    """Where an earlier run has come as far as this one begins, nothing new is no news."""
    if isinstance(rows, ParquetSource):  # of another source only the window is known
        start, end = to_micros(task.start_time), to_micros(task.end_time)
        intervals = task.feature_view.materialization_intervals
        goes_on = any(to_micros(until) >= start for _, until in intervals)
        warn_of_rows_outside(rows, timestamp, (start, end), goes_on=goes_on)


def _refuse_unknown_keys(derivation: Derivation, rows: Rows) -> None:
    needed = (*derivation.schema.keys, derivation.schema.timestamp)
    missing = [name for name in needed if name not in rows.columns]
    if missing:
        raise schema_error(
            f"Feature view {derivation.view.name!r}",
            got=f"a source without {missing}, which its transformation computes",
            expected="these columns in the source, or offline=True",
            remedy="Without a history the newest rows are chosen before the transformation: add "
            "the columns to the source, or declare offline=True and a sink_source.",
        )


@contextmanager
def _progress(
    task: MaterializationTask, label: str, total: int
) -> Iterator[Callable[[int], object]]:
    """A bar of `total` rows as Feast's caller builds it; none where there is nothing to do."""
    if task.tqdm_builder is None or total == 0:
        yield lambda _rows: None
        return
    bar = task.tqdm_builder(total)
    bar.set_description(label)
    try:
        yield bar.update
    finally:
        bar.close()
