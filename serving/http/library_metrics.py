"""What the parts under the application know of themselves, asked when Prometheus asks."""

import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from feast import FeatureStore
from prometheus_client import Histogram, Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from feast_fusion.column_names import split_view
from feast_fusion.errors import SchemaError
from feast_fusion.redis_matrix import online_store_of
from feast_fusion.sealed_json import read_json
from intake.journal_archive import archive_files
from intake.journal_file import journal_files
from intake.workspace import Workspace
from serving.http.encoder_metrics import EncoderMetrics
from serving.served_log import ServedLog
from serving.served_models import ServedModels

_EXCHANGE_S = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
_SHOWN = 12  # characters of a digest


class LibraryMetrics(Collector):
    """Redis, the item cache, the encoder, files and versions, for any number of registries.

    Parameters
    ----------
    served_log : None where no answers are logged
    """

    def __init__(
        self,
        workspace: Workspace,
        store: FeatureStore,
        models: ServedModels,
        served_log: ServedLog | None,
    ) -> None:
        self._workspace, self._store = workspace, store
        self._models, self._served_log = models, served_log
        self._online = online_store_of(store)
        self._transport = self._online.transport(store.config.online_store)
        self._exchanges = Histogram(
            "fusion_redis_exchange_seconds",
            "Time of an exchange with Redis, waiting for a connection included, by operation "
            "(read, write) and outcome (answered, failed).",
            ["operation", "outcome"],
            registry=None,
            buckets=_EXCHANGE_S,
        )
        self._transport.observe = self._observe

    def _observe(self, operation: str, outcome: str, seconds: float) -> None:
        self._exchanges.labels(operation, outcome).observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """Everything as it is now; takes a few milliseconds."""
        yield from self._exchanges.collect()
        yield GaugeMetricFamily(
            "fusion_redis_breaker_open",
            "1 while Redis is not read for a moment, since reads failed in a row.",
            float(self._transport.is_refusing),
        )
        yield from self._of_cache()
        if self._workspace.encoder_host is None:
            yield from EncoderMetrics(lambda: self._models.main.embedder.query_stats).collect()
        yield from self._of_files()
        yield from self._of_versions()

    def _of_cache(self) -> Iterator[Metric]:
        cached = self._online.cached_reads(self._store.config)
        if cached is None:
            return
        stats = cached.stats
        yield _by_outcome(
            "fusion_item_cache_rows",
            "Rows of items asked of the cache in this process, by outcome (hit, miss).",
            {"hit": stats.hits, "miss": stats.misses},
        )
        yield CounterMetricFamily(
            "fusion_item_cache_evictions",
            "Rows that left the cache for want of room.",
            stats.evicted,
        )
        yield CounterMetricFamily(
            "fusion_item_cache_drops",
            "Times that the whole cache was thrown away, as when Redis went away.",
            stats.drops,
        )
        yield GaugeMetricFamily(
            "fusion_item_cache_bytes", "Memory that the cache takes.", stats.n_bytes
        )

    def _of_files(self) -> Iterator[Metric]:
        journal = GaugeMetricFamily(
            "fusion_journal_bytes",
            "Size of the journal of events, by part (live: not prepared and archived yet, "
            "archive).",
            labels=["part"],
        )
        journal.add_metric(["live"], _size_of(journal_files(self._workspace.events)))
        journal.add_metric(["archive"], _size_of(archive_files(self._workspace.events)))
        yield journal
        yield GaugeMetricFamily(
            "fusion_disk_free_bytes",
            "Room on the disk of the home folder, where the journal is.",
            shutil.disk_usage(self._workspace.home).free,
        )
        log = self._served_log
        counts = (log.n_logged, log.n_dropped, log.n_failed) if log else (0, 0, 0)
        yield _by_outcome(
            "fusion_served_log_answers",
            "Answers whose features were to be logged (--log-served), by outcome (logged, dropped "
            "for want of memory, failed to be read or written).",
            dict(zip(("logged", "dropped", "failed"), counts, strict=True)),
        )

    def _of_versions(self) -> Iterator[Metric]:
        prepared = self._workspace.read_stamp()
        yield InfoMetricFamily(
            "fusion_service",
            "What answers: version of the program, and digests of model, encoder and data.",
            {
                "version": version("feast-fusion"),
                "model": self._models.promoted.main,
                "encoder": self._models.main.features.encoder_id or "",
                "data": self._data(),
            },
        )
        yield from self._of_models()
        if prepared is not None:
            yield GaugeMetricFamily(
                "fusion_data_prepared_timestamp_seconds",
                "When the prepared data was written, seconds since 1970.",
                prepared[0] / 1e9,
            )
        ages = GaugeMetricFamily(
            "fusion_features_age_seconds",
            "Time since the instant up to which a view was last materialized, by view; live events "
            "come on top.",
            labels=["view"],
        )
        for view, until_s in self._materialized():
            ages.add_metric([view], time.time() - until_s)
        yield ages

    def _of_models(self) -> Iterator[Metric]:
        shares = GaugeMetricFamily(
            "fusion_model_share",
            "Share of the users that a version of the model answers; 0 for the shadow.",
            labels=["model"],
        )
        promoted = self._models.promoted
        for name in sorted(promoted.names):
            shares.add_metric([name], promoted.shares.get(name, 0.0))
        yield shares
        yield GaugeMetricFamily(
            "fusion_model_behind",
            "1 while a promoted version cannot be loaded and those before it answer.",
            float(self._models.is_behind),
        )
        shadowed = self._models.shadowed
        compared = shadowed.compared
        yield _by_outcome(
            "fusion_shadow_answers",
            "Answers that the shadow was to give too, by outcome (compared, dropped, failed).",
            {
                "compared": compared.n,
                "dropped": shadowed.n_dropped,
                "failed": shadowed.n_failed,
            },
        )
        yield SummaryMetricFamily(
            "fusion_shadow_overlap",
            "Share of the items of an answer that the shadow's answer has too.",
            count_value=compared.n,
            sum_value=compared.overlap,
        )
        yield SummaryMetricFamily(
            "fusion_shadow_seconds",
            "Time that the shadow took for an answer.",
            count_value=compared.n,
            sum_value=compared.seconds,
        )

    def _data(self) -> str:
        with suppress(SchemaError):  # while a preparation replaces it
            return str(read_json(self._workspace.manifest)["fingerprint"][:_SHOWN])
        return ""

    def _materialized(self) -> Iterator[tuple[str, float]]:
        """Each view of the service with the end of its last materialization, if it had one."""
        for name in self._models.main.features.views:
            view = self._store.registry.get_any_feature_view(
                name, self._store.project, allow_cache=True
            )
            until = getattr(view, "most_recent_end_time", None)
            if until is not None:
                yield split_view(name)[0], until.timestamp()


def _by_outcome(name: str, text: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=["outcome"])
    for outcome, count in counts.items():
        family.add_metric([outcome], count)
    return family


def _size_of(paths: Iterable[Path]) -> int:
    size = 0
    for path in paths:
        with suppress(FileNotFoundError):  # it may go meanwhile
            size += path.stat().st_size
    return size
