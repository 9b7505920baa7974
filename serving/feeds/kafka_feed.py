"""A Kafka topic as a feed: a message is an event, JSON in the form of the interactions' rows."""

import json
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from feast_fusion.errors import StoreUnavailableError, extra_required
from intake.dataset import Dataset
from serving.feeds.fed_rows import read_message_rows
from serving.feeds.feed import BATCH_ROWS, Batch, FedRow

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message

_log = logging.getLogger(__name__)

_WAIT_S = 0.5
_REQUIRED = ("user_id", "item_id", "event_timestamp")


class KafkaFeed:
    """A topic, read as a consumer group: several processes of one group share its partitions.

    Offsets are committed to Kafka behind what is kept. A message that comes again has the event_id
    that it had, its own or `<topic>/<partition>/<offset>`, so it counts once.

    Parameters
    ----------
    settings : of librdkafka, among them bootstrap.servers and group.id
    follow : go on after what the partitions have now

    Raises
    ------
    StoreUnavailableError
        When it is read: the servers cannot be reached, or refuse.
    MissingExtraError
        When it is read: the client is not installed.
    """

    def __init__(
        self, dataset: Dataset, topic: str, settings: Mapping[str, str], *, follow: bool
    ) -> None:
        self._dataset, self._topic, self._follow = dataset, topic, follow
        self._settings = {
            "auto.offset.reset": "earliest",
            **settings,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
        self._ended: set[int] = set()

    def batches(self, stop: threading.Event) -> Iterator[Batch]:
        """See `Feed.batches`."""
        with extra_required("kafka"):
            from confluent_kafka import Consumer, KafkaException
        try:
            consumer = Consumer(self._settings, logger=_log)
            self._require_topic(consumer)
            consumer.subscribe([self._topic])
            try:
                yield from self._consume(consumer, stop)
            finally:
                consumer.close()
        except KafkaException as error:
            raise self._unavailable(error.args[0]) from error

    def _require_topic(self, consumer: "Consumer") -> None:
        found = consumer.list_topics(self._topic, timeout=10).topics[self._topic]
        if found.error is not None:
            raise self._unavailable(found.error)

    def _consume(self, consumer: "Consumer", stop: threading.Event) -> Iterator[Batch]:
        with TemporaryDirectory() as folder:
            while not stop.is_set():
                messages = self._whole(consumer.consume(BATCH_ROWS, _WAIT_S))
                if messages:
                    rows = self._rows(messages, Path(folder) / "messages.jsonl")
                    yield Batch(rows, partial(_commit, consumer, messages))
                elif not self._follow and self._is_at_end(consumer):
                    return

    def _whole(self, messages: Sequence["Message"]) -> list["Message"]:
        """Those that are messages; of the others, ends of partitions are noted."""
        from confluent_kafka import KafkaError, KafkaException

        found = []
        for message in messages:
            error, partition = message.error(), message.partition()
            if error is None:
                self._ended.discard(partition)
                found.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                self._ended.add(partition)
            elif error.fatal() or not error.retriable():
                raise KafkaException(error)
        return found

    def _is_at_end(self, consumer: "Consumer") -> bool:
        assigned = {each.partition for each in consumer.assignment()}
        return bool(assigned) and assigned <= self._ended

    def _rows(self, messages: Sequence["Message"], path: Path) -> list[FedRow]:
        """The events of messages, and those that are none."""
        columns = self._dataset.interactions.columns
        expected = dict.fromkeys(columns.get(name, name) for name in _REQUIRED)
        expected |= dict.fromkeys(columns.values())
        places, lines, refused = [], [], []
        for message in messages:
            place = f"{message.topic()}/{message.partition()}/{message.offset()}"
            record = _record(message.value())
            if record is None:
                text = (message.value() or b"").decode(errors="replace")
                refused.append(FedRow(place, {"message": text}, "not an object of JSON"))
            else:
                places.append(place)
                lines.append(json.dumps({**expected, **record}))
        if not lines:
            return refused
        path.write_text("\n".join(lines), encoding="utf-8")
        return read_message_rows(self._dataset, path, places, datetime.now(UTC)) + refused

    def _unavailable(self, error: object) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"Kafka topic {self._topic} at {self._settings.get('bootstrap.servers')}: got {error}, "
            "expected to read it. Correct --kafka, --topic or --kafka-config, or start the server."
        )


def _record(value: bytes | None) -> dict[str, Any] | None:
    try:
        found = json.loads(value or b"")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _commit(consumer: "Consumer", messages: Sequence["Message"]) -> None:
    """The group goes on behind the last message of each partition."""
    from confluent_kafka import KafkaException, TopicPartition

    ends = {(each.topic(), each.partition()): each.offset() + 1 for each in messages}
    offsets = [TopicPartition(*where, end) for where, end in ends.items()]
    try:
        consumer.commit(offsets=offsets, asynchronous=False)
    except KafkaException as error:
        _log.warning("Kafka: offsets not committed, so messages will come again: %s", error)
