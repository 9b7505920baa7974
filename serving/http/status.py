"""How the service is, in one answer: what a person looks at who has no Prometheus."""

import time
from typing import Annotated

from pydantic import BaseModel, Field

from intake.dataset import Dataset
from intake.variety_settings import Variety
from serving.catalogue import Catalogue
from serving.http.metric_reading import Durations, MetricReading
from serving.served_models import ServedModels

_ROUTES = ("/recommend", "/rank", "/similar", "/events")
Bytes = Annotated[int, Field(description="Bytes.")]


class FilterColumn(BaseModel):
    """A column of items that a filter may name."""

    name: str
    kind: str = Field(description="number, text or texts (several of an item).")


class DatasetStatus(BaseModel):
    """What is recommended, and what an event of it is like."""

    name: str
    n_items: int
    explicit: bool = Field(description="Whether there are events that are not positive.")
    rated: bool = Field(description="Whether an event's value says whether the item is liked.")
    value_range: tuple[float, float] | None = Field(
        description="The least and the greatest value of the prepared events."
    )
    event_types: list[str]
    columns: list[FilterColumn]
    categorical: list[str] = Field(description="Columns that max_per and calibrated may name.")
    objective: dict[str, float] = Field(description="Weights, where a request does not say.")
    variety: Variety = Field(description="Where a request does not say.")
    repeats: bool


class ModelStatus(BaseModel):
    """A version that answers, or the shadow."""

    name: str
    share: float
    is_shadow: bool


class FreshnessStatus(BaseModel):
    """How old what answers are made from is; live events come on top."""

    prepared_age_s: float | None
    materialized_age_s: dict[str, float] = Field(description="By view.")


class RedisStatus(BaseModel):
    """The online store as this service meets it."""

    is_refusing: bool = Field(description="Whether it is left alone, since reads failed in a row.")
    n_failed: int
    reads: Durations
    writes: Durations


class CacheStatus(BaseModel):
    """Rows of items in memory."""

    n_hits: int
    n_misses: int
    size: Bytes


class EventsStatus(BaseModel):
    """Live events since the start."""

    n_accepted: int
    n_duplicate: int
    n_rejected: int
    n_pending: int = Field(description="Accepted, and not in the features yet.")
    is_stuck: bool
    is_behind: bool = Field(description="Whether Redis has less than the journal.")


class JournalStatus(BaseModel):
    """Where events are kept."""

    live: Bytes
    archive: Bytes
    is_failing: bool
    disk_free: Bytes


class Status(BaseModel):
    """The service, over all its processes."""

    is_ready: bool
    missing: str | None = Field(description="What keeps it from being ready.")
    version: str
    encoder: str
    data: str = Field(description="Digest of what was prepared.")
    dataset: DatasetStatus
    models: list[ModelStatus]
    freshness: FreshnessStatus
    redis: RedisStatus
    cache: CacheStatus
    events: EventsStatus
    journal: JournalStatus
    latency: dict[str, Durations] = Field(description="By route, of what was not refused.")
    degraded: dict[str, int] = Field(description="Degraded answers by reason.")
    n_in_flight: int


def describe_status(
    reading: MetricReading,
    models: ServedModels,
    dataset: DatasetStatus,
    missing: str | None,
) -> Status:
    """What the metrics, the models and the readiness say together."""
    info = reading.labels("fusion_service_info")
    return Status(
        is_ready=missing is None,
        missing=missing,
        version=info.get("version", ""),
        encoder=info.get("encoder", ""),
        data=info.get("data", ""),
        dataset=dataset,
        models=_of_models(models),
        freshness=_of_freshness(reading),
        redis=_of_redis(reading),
        cache=_of_cache(reading),
        events=_of_events(reading),
        journal=_of_journal(reading),
        latency={
            route: reading.durations("fusion_request_seconds", route=route, status="200")
            for route in _ROUTES
        },
        degraded={
            reason: int(n)
            for reason, n in reading.by("fusion_degraded_answers_total", "reason").items()
        },
        n_in_flight=int(reading.total("fusion_requests_in_flight")),
    )


def describe_dataset(
    dataset: Dataset, catalogue: Catalogue, value_range: tuple[float, float] | None
) -> DatasetStatus:
    """What a data set says, and what its prepared events have."""
    events, ranker = dataset.interactions, dataset.ranker
    columns = catalogue.columns.columns
    return DatasetStatus(
        name=dataset.name,
        n_items=len(catalogue),
        explicit=events.explicit,
        rated=events.is_rated,
        value_range=value_range,
        event_types=[*events.types],
        columns=[FilterColumn(name=name, kind=each.kind) for name, each in columns.items()],
        categorical=[*dataset.items.categorical],
        objective={"satisfaction": ranker.satisfaction, "value": ranker.value},
        variety=dataset.variety,
        repeats=dataset.candidates.repeats,
    )


def _of_models(models: ServedModels) -> list[ModelStatus]:
    promoted = models.promoted
    return [
        ModelStatus(
            name=name, share=promoted.shares.get(name, 0.0), is_shadow=name == promoted.shadow
        )
        for name in [*promoted.shares, *([promoted.shadow] if promoted.shadow else [])]
    ]


def _of_freshness(reading: MetricReading) -> FreshnessStatus:
    prepared = reading.largest("fusion_data_prepared_timestamp_seconds")
    return FreshnessStatus(
        prepared_age_s=None if prepared is None else time.time() - prepared,
        materialized_age_s=reading.by("fusion_features_age_seconds", "view", max),
    )


def _of_redis(reading: MetricReading) -> RedisStatus:
    name = "fusion_redis_exchange_seconds"
    return RedisStatus(
        is_refusing=bool(reading.total("fusion_redis_breaker_open")),
        n_failed=int(reading.total(f"{name}_count", outcome="failed")),
        reads=reading.durations(name, operation="read", outcome="answered"),
        writes=reading.durations(name, operation="write", outcome="answered"),
    )


def _of_cache(reading: MetricReading) -> CacheStatus:
    rows = reading.by("fusion_item_cache_rows_total", "outcome")
    return CacheStatus(
        n_hits=int(rows.get("hit", 0)),
        n_misses=int(rows.get("miss", 0)),
        size=int(reading.total("fusion_item_cache_bytes")),
    )


def _of_events(reading: MetricReading) -> EventsStatus:
    outcomes = reading.by("fusion_events_total", "outcome")
    return EventsStatus(
        n_accepted=int(outcomes.get("accepted", 0)),
        n_duplicate=int(outcomes.get("duplicate", 0)),
        n_rejected=int(outcomes.get("rejected", 0)),
        n_pending=int(reading.total("fusion_events_pending")),
        is_stuck=bool(reading.total("fusion_events_stuck")),
        is_behind=bool(reading.total("fusion_features_lost")),
    )


def _of_journal(reading: MetricReading) -> JournalStatus:
    parts = reading.by("fusion_journal_bytes", "part", max)  # of the same files
    return JournalStatus(
        live=int(parts.get("live", 0)),
        archive=int(parts.get("archive", 0)),
        is_failing=bool(reading.total("fusion_journal_failing")),
        disk_free=int(reading.largest("fusion_disk_free_bytes") or 0),
    )
