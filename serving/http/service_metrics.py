"""What the service counts and times, in a Prometheus registry of its own."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.registry import Collector

from serving.answers import (
    OVERLOADED,
    QUERY_NOT_ENCODED,
    STORE_EMPTY,
    STORE_INCOMPLETE,
    STORE_UNAVAILABLE,
)
from serving.http.metric_peers import MetricPeers
from serving.http.work_queue import WorkQueue
from serving.live.event_intake import EventIntake
from serving.posted.row_intake import RowIntake

disable_created_metrics()  # type: ignore[no-untyped-call]  # as many series again
_REASONS = (OVERLOADED, QUERY_NOT_ENCODED, STORE_EMPTY, STORE_INCOMPLETE, STORE_UNAVAILABLE)
_OUTCOMES = ("accepted", "duplicate", "rejected")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class ServiceMetrics:
    """The numbers of one service process.

    Parameters
    ----------
    peers : the other processes of its port, None where it is alone
    """

    def __init__(self, peers: MetricPeers | None = None) -> None:
        self.registry = CollectorRegistry()
        self._peers = peers
        if peers is not None:
            peers.publish(self._render_own)
        self._seconds = Histogram(
            "fusion_request_seconds",
            "Time from the request's first byte to its answer, by route and status.",
            ["route", "status"],
            registry=self.registry,
            buckets=_SECONDS,
        )
        self._degraded = Counter(
            "fusion_degraded_answers",
            "Answers that were given without something they need, by what was missing.",
            ["reason"],
            registry=self.registry,
        )
        self._answers = Counter(
            "fusion_answers",
            "Recommendations and rankings, by the version of the model that gave them.",
            ["model"],
            registry=self.registry,
        )
        self._events = Counter(
            "fusion_events",
            "Posted events by outcome (accepted, duplicate, rejected).",
            ["outcome"],
            registry=self.registry,
        )
        self._rows = Counter(
            "fusion_posted_rows",
            "Posted items and users (and changes of them) by table and outcome.",
            ["table", "outcome"],
            registry=self.registry,
        )
        for outcome in _OUTCOMES:
            self._rows.labels("items", outcome)
            self._rows.labels("users", outcome)
            self._events.labels(outcome)  # a rate needs the 0 before the first
        for reason in _REASONS:
            self._degraded.labels(reason)
        self._unwritten = Counter(
            "fusion_journal_write_errors",
            "Requests with events or rows that the journal did not take.",
            registry=self.registry,
        )
        self._waits = Histogram(
            "fusion_queue_wait_seconds",
            "Time for which a call had waited for a thread when it began, by queue.",
            ["queue"],
            registry=self.registry,
            buckets=_SECONDS,
        )
        self._waiting = Gauge(
            "fusion_queue_waiting",
            "Calls that wait for a thread, by queue (rank, events, rows, embed, lookups, ready).",
            ["queue"],
            registry=self.registry,
        )
        self._in_flight = Gauge(
            "fusion_requests_in_flight",
            "Requests being answered or waiting for a thread.",
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)

    @contextmanager
    def one_in_flight(self) -> Iterator[None]:
        """Counts a request while it is being answered."""
        self._in_flight.inc()
        try:
            yield
        finally:
            self._in_flight.dec()

    def add_request(self, route: str, status: int, seconds: float) -> None:
        """One answered request; `route` is the template, so that the label stays small."""
        self._seconds.labels(route, str(status)).observe(seconds)

    def add_answer(self, model: str | None) -> None:
        """One recommendation or ranking, by the version of the model that gave it."""
        self._answers.labels(model or "").inc()

    def add_degraded(self, reasons: Iterable[str]) -> None:
        """One degraded answer, counted once per reason."""
        for reason in reasons:
            self._degraded.labels(reason).inc()

    def add_events(self, outcomes: Mapping[str, int]) -> None:
        """Events of one request by outcome."""
        for outcome, count in outcomes.items():
            self._events.labels(outcome).inc(count)

    def add_rows(self, table: str, outcomes: Mapping[str, int]) -> None:
        """Posted rows of one request by outcome."""
        for outcome, count in outcomes.items():
            self._rows.labels(table, outcome).inc(count)

    def add_unwritten(self) -> None:
        """One request whose events or rows are not in their journal."""
        self._unwritten.inc()

    def new_queue(self, name: str, threads: int) -> WorkQueue:
        """A queue whose length and waiting are published."""
        queue = WorkQueue(name, threads, self._waits.labels(name).observe)
        self._waiting.labels(name).set_function(lambda: queue.n_waiting)
        return queue

    def watch_library(self, collector: Collector, deadline_ms: int) -> None:
        """Publishes what the parts under the application know, and what they are measured by."""
        self.registry.register(collector)
        self.watch(
            "fusion_deadline_seconds",
            "By when a recommendation or ranking is answered (--deadline-ms).",
            lambda: deadline_ms / 1000,
        )

    def watch(self, name: str, description: str, read: Callable[[], float]) -> None:
        """Publishes a number that someone else keeps."""
        Gauge(name, description, registry=self.registry).set_function(read)

    def watch_events(self, intake: EventIntake) -> None:
        """Publishes how the intake of events is doing."""
        self.watch(
            "fusion_events_pending",
            "Accepted events that are not in the features yet.",
            lambda: intake.n_pending,
        )
        self.watch(
            "fusion_events_stuck",
            "1 while accepted events cannot be applied.",
            lambda: float(intake.last_error is not None),
        )
        self.watch(
            "fusion_features_lost",
            "1 while the online store has less than the journal of events.",
            lambda: float(intake.is_behind),
        )
        self.watch(
            "fusion_journal_failing",
            "1 while the journal of events cannot be written, as on a full disk.",
            lambda: float(intake.is_refusing),
        )

    def watch_rows(self, intake: RowIntake) -> None:
        """Publishes how the intake of rows is doing."""
        self.watch(
            "fusion_rows_pending",
            "Requests with accepted rows that the answers of this process do not follow yet.",
            lambda: intake.n_pending,
        )
        self.watch(
            "fusion_rows_stuck",
            "1 while accepted rows cannot be brought into sources and stores.",
            lambda: float(intake.last_error is not None),
        )

    def render(self) -> bytes:
        """Everything in Prometheus' text format, of all processes of the port."""
        return self._render_own() if self._peers is None else self._peers.render()

    def _render_own(self) -> bytes:
        return generate_latest(self.registry)
