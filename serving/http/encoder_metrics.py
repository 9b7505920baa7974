"""What the encoder of queries did, asked when Prometheus asks."""

from collections.abc import Callable, Iterator

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.registry import Collector

from feast_fusion.encoding.text_queue import TextQueueStats


class EncoderMetrics(Collector):
    """Batches of queries in the process that has the encoder.

    Parameters
    ----------
    read : what was done until now
    """

    def __init__(self, read: Callable[[], TextQueueStats]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Everything as it is now."""
        stats = self._read()
        yield GaugeMetricFamily(
            "fusion_encode_waiting_texts", "Texts that wait for the encoder.", stats.n_waiting
        )
        yield SummaryMetricFamily(
            "fusion_encode_seconds",
            "Time of a batch in the encoder.",
            count_value=stats.n_batches,
            sum_value=stats.encode_s,
        )
        yield SummaryMetricFamily(
            "fusion_encode_texts",
            "Texts of a batch in the encoder.",
            count_value=stats.n_batches,
            sum_value=stats.n_texts,
        )
