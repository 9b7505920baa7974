"""Rows as Feast's own messages, for `get_online_features`: absent and expired rows say so."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from feast import Field
from feast.infra.online_stores.redis import _versioned_fv_name
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from google.protobuf.timestamp_pb2 import Timestamp

from feast_fusion.column_names import feature_column
from feast_fusion.online.codec.time_values import decode_timestamps, warn_of_unreadable_rows
from feast_fusion.online.codec.value_decoding import decoder_of, is_vector
from feast_fusion.online.codec.vector_decoding import vector_value
from feast_fusion.online.read_plan import feature_field, timestamp_field
from feast_fusion.online.redis.transport import Read, ReadGroup, Reply

Parse = Callable[[bytes], ValueProto]


@dataclass(frozen=True)
class ProtoRow:
    """One entity's row of one view; `timestamp` None where there is none."""

    timestamp: datetime | None
    values: dict[str, ValueProto]
    expired: bool


ABSENT = ProtoRow(None, {}, False)


@dataclass(frozen=True)
class ProtoRead:
    """One view of a request in Feast's terms: what to fetch, and how to make rows of it."""

    view: str
    features: tuple[str, ...]
    parsers: tuple[Parse, ...]
    ttl: timedelta | None
    group: ReadGroup

    @classmethod
    def of(
        cls, config: Any, view: Any, features: Sequence[str], keys: Sequence[bytes]
    ) -> "ProtoRead":
        """What `features` of `view` need for the given Redis keys."""
        stored = _versioned_fv_name(view, config)
        declared = {field.name: field for field in view.features}
        fields = [feature_field(stored, name) for name in features] + [timestamp_field(stored)]
        parsers = tuple(_parser(stored, name, declared.get(name)) for name in features)
        ttl = getattr(view, "ttl", None) or None
        return cls(stored, tuple(features), parsers, ttl, ReadGroup(keys, fields))

    def rows(self, replies: Sequence[Reply], now: datetime) -> list[ProtoRow]:
        """The row of each key; a feature that its row does not have is left out."""
        stamps = [reply[-1] for reply in replies]
        times = decode_timestamps(stamps).tolist()
        if n_bad := sum(at is None for at in times) - stamps.count(None):
            warn_of_unreadable_rows(self.view, n_bad)
        return [self._row(reply, at, now) for reply, at in zip(replies, times, strict=True)]

    def _row(self, reply: Reply, naive: datetime | None, now: datetime) -> ProtoRow:
        if naive is None:
            return ABSENT
        at = naive.replace(tzinfo=UTC)
        if self.ttl is not None and at < now - self.ttl:
            return ProtoRow(at, {}, True)
        stored = zip(self.features, self.parsers, reply, strict=False)  # then the timestamp
        values = {name: parse(value) for name, parse, value in stored if value is not None}
        return ProtoRow(at, values, False)


def _parser(view: str, name: str, field: Field | None) -> Parse:
    if field is None:
        return ValueProto.FromString
    return vector_value if is_vector(field) else decoder_of(view, field).parse


def read_rows(
    read: Read, config: Any, asked: Sequence[tuple[Any, Sequence[str], Sequence[bytes]]]
) -> list[tuple[ProtoRead, list[ProtoRow]]]:
    """The rows of each (view, names of features, Redis keys), in one round trip.

    Raises
    ------
    SchemaError
        A stored value is not of its feature's type.
    StoreUnavailableError
        Redis cannot be read.
    """
    reads = [ProtoRead.of(config, view, names, keys) for view, names, keys in asked]
    replies = read([each.group for each in reads])
    now = datetime.now(UTC)
    return [(each, each.rows(of_view, now)) for each, of_view in zip(reads, replies, strict=True)]


def fill_response(
    response: Any,
    view: Any,
    read: ProtoRead,
    rows: Sequence[ProtoRow],
    order: Sequence[int],
    *,
    full_feature_names: bool,
    with_version: bool,
) -> None:
    """Add a view's columns to a response, as Feast does, with a status that means something.

    NOT_FOUND: there is no row, or its row lacks the feature. OUTSIDE_MAX_AGE: the row is older
    than the view's ttl; its value is null, its event timestamp is given. PRESENT: anything else,
    a stored null included.

    Parameters
    ----------
    order : for each row of the response which of `rows`, -1 for none
    """
    rows = [*rows, ABSENT]
    stamps = [_stamp(row.timestamp) for row in rows]
    for name in read.features:
        values, statuses = zip(*(_cell(row, name) for row in rows), strict=True)
        response.results.append(
            GetOnlineFeaturesResponse.FeatureVector(
                values=[values[at] for at in order],
                statuses=[statuses[at] for at in order],
                event_timestamps=[stamps[at] for at in order],
            )
        )
    prefix = view.projection.name_to_use()
    response.metadata.feature_names.val.extend(
        feature_column(prefix, name) if full_feature_names else name for name in read.features
    )
    if with_version:
        _add_version(response, view)


def _cell(row: ProtoRow, name: str) -> tuple[ValueProto, Any]:
    if row.expired:
        return ValueProto(), FieldStatus.OUTSIDE_MAX_AGE
    if name not in row.values:
        return ValueProto(), FieldStatus.NOT_FOUND
    return row.values[name], FieldStatus.PRESENT


def _stamp(at: datetime | None) -> Timestamp:
    stamp = Timestamp()
    if at is not None:
        stamp.FromDatetime(at)
    return stamp


def _add_version(response: Any, view: Any) -> None:
    name = view.projection.name_alias or view.projection.name
    if name not in [known.name for known in response.metadata.feature_view_metadata]:
        added = response.metadata.feature_view_metadata.add()
        added.name = name
        added.version = getattr(view, "current_version_number", 0) or 0
