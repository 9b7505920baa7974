"""Sums and quantiles of metrics in Prometheus' format, over all processes and labels."""

from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from pydantic import BaseModel, Field


class Durations(BaseModel):
    """How long something took, since the service started; null where it never happened."""

    n: int = Field(description="How often it happened.")
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class MetricReading:
    """What one rendering of the metrics says.

    >>> reading = MetricReading('events_total{outcome="accepted",process="1"} 2')
    >>> reading.total("events_total", outcome="accepted")
    2.0
    """

    def __init__(self, rendered: str) -> None:
        self._samples: dict[str, list[Sample]] = defaultdict(list)
        for family in text_string_to_metric_families(rendered):
            for sample in family.samples:
                self._samples[sample.name].append(sample)

    def total(self, name: str, **labels: str) -> float:
        """The sum over the labels that are not given; 0 where there is nothing."""
        return sum((sample.value for sample in self._of(name, labels)), start=0.0)

    def largest(self, name: str) -> float | None:
        """Of what processes say of one thing, as when it was made; None where none says it."""
        return max((sample.value for sample in self._of(name, {})), default=None)

    def by(
        self, name: str, label: str, together: Callable[[list[float]], float] = sum
    ) -> dict[str, float]:
        """By the values of a label what the processes say together: their sum, or `max`."""
        found: dict[str, list[float]] = defaultdict(list)
        for sample in self._of(name, {}):
            found[sample.labels[label]].append(sample.value)
        return {value: together(numbers) for value, numbers in found.items()}

    def labels(self, name: str) -> dict[str, str]:
        """Those of the first sample, as of an info metric."""
        return dict(next((sample.labels for sample in self._of(name, {})), {}))

    def durations(self, name: str, **labels: str) -> Durations:
        """Of a histogram in seconds; quantiles are interpolated in its buckets."""
        counts: dict[float, float] = defaultdict(float)
        for sample in self._of(f"{name}_bucket", labels):
            counts[float(sample.labels["le"])] += sample.value
        buckets = sorted(counts.items())
        p50, p95, p99 = (_quantile_ms(buckets, share) for share in (0.5, 0.95, 0.99))
        return Durations(
            n=int(buckets[-1][1]) if buckets else 0, p50_ms=p50, p95_ms=p95, p99_ms=p99
        )

    def _of(self, name: str, labels: dict[str, str]) -> list[Sample]:
        return [sample for sample in self._samples[name] if labels.items() <= sample.labels.items()]


def _quantile_ms(buckets: list[tuple[float, float]], share: float) -> float | None:
    """As Prometheus' histogram_quantile; beyond the last bound, that bound.

    Parameters
    ----------
    buckets : upper bounds in seconds, ascending, the last is infinite; each with how many were
        not longer
    """
    if not buckets or not buckets[-1][1]:
        return None
    rank = share * buckets[-1][1]
    for (lower, before), (upper, until) in pairwise([(0.0, 0.0), *buckets[:-1]]):
        if until >= rank:
            return 1000 * (lower + (upper - lower) * (rank - before) / (until - before))
    return 1000 * buckets[-2][0]
