"""Sums and quantiles of metrics, against those of the observations themselves."""

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from serving.http.metric_reading import Durations, MetricReading

BOUNDS = (0.001, 0.01, 0.02, 0.05, 0.1, 0.5)


def durations(seconds: list[float], name: str) -> Durations:
    """Of a histogram of its own: Feast has all of one name share what they count."""
    registry = CollectorRegistry()
    histogram = Histogram(f"{name}_seconds", "-", ["route"], registry=registry, buckets=BOUNDS)
    for each in seconds:
        histogram.labels("/a").observe(each)
    histogram.labels("/b").observe(0.3)
    rendered = generate_latest(registry).decode()
    return MetricReading(rendered).durations(f"{name}_seconds", route="/a")


def test_quantiles_are_within_the_bucket_that_has_them() -> None:
    seconds = np.random.default_rng(3).gamma(2.0, 0.01, 4_000).tolist()
    found = durations(seconds, "many")
    assert found.n == len(seconds)
    for share, found_ms in ((0.5, found.p50_ms), (0.95, found.p95_ms), (0.99, found.p99_ms)):
        exact = float(np.quantile(seconds, share))
        bounds = [0.0, *BOUNDS]
        at = int(np.searchsorted(bounds, exact))
        assert found_ms is not None
        assert bounds[at - 1] <= found_ms / 1000 <= bounds[at]


def test_between_bounds_a_quantile_is_interpolated() -> None:
    assert durations([0.015] * 10, "between").p50_ms == pytest.approx(15)


def test_beyond_the_last_bound_a_quantile_is_that_bound() -> None:
    assert durations([7.0], "beyond").p99_ms == 500


def test_what_never_happened_has_no_quantiles() -> None:
    found = durations([], "never")
    assert (found.n, found.p50_ms, found.p95_ms, found.p99_ms) == (0, None, None, None)


def test_processes_are_added_or_the_largest_is_taken() -> None:
    registry = CollectorRegistry()
    events = Counter("events", "-", ["outcome", "process"], registry=registry)
    prepared = Gauge("prepared", "-", ["process"], registry=registry)
    for process, n in (("1", 2), ("2", 5)):
        events.labels("accepted", process).inc(n)
        events.labels("rejected", process).inc()
        prepared.labels(process).set(10 * n)
    found = MetricReading(generate_latest(registry).decode())
    assert found.by("events_total", "outcome") == {"accepted": 7, "rejected": 2}
    assert found.by("events_total", "outcome", max) == {"accepted": 5, "rejected": 1}
    assert found.total("events_total", process="2") == 6
    assert found.largest("prepared") == 50
    assert found.largest("unheard of") is None
