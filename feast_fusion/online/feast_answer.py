"""The answer to `get_online_features`, as Feast's own message, from one exchange with Redis."""

import time
from typing import Any

from feast import metrics, utils
from feast.infra.online_stores.online_store import OnlineStore
from feast.online_response import OnlineResponse
from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse

from feast_fusion.online.feature_request import FeatureRequest, view_entities
from feast_fusion.online.full_names import FullyNamed
from feast_fusion.online.proto_rows import fill_response, read_rows
from feast_fusion.online.redis.transport import Read


def answer(
    request: FeatureRequest, read: Read, config: Any, *, full_names: bool, with_version: bool
) -> OnlineResponse:
    """The features of every row of a request, those on demand computed.

    Raises
    ------
    RefusedRequestError
        A row lacks a join key.
    SchemaError
        A stored value is not of its feature's type.
    StoreUnavailableError
        Redis cannot be read.
    """
    response = GetOnlineFeaturesResponse(results=[])
    utils._populate_result_rows_from_columnar(response, {**request.keys, **request.request_data})
    _add_views(response, request, read, config, full_names, with_version)
    types = OnlineStore._build_feature_types(request.views)
    if request.on_demand:
        on_demand = [FullyNamed(view) if full_names else view for view in request.on_demand]
        utils._augment_response_with_on_demand_transforms(
            response, request.references, on_demand, full_names, feature_types=types
        )
    utils._drop_unneeded_columns(response, request.answered | request.keys.keys())
    return OnlineResponse(response, feature_types=types)


def _add_views(
    response: Any,
    request: FeatureRequest,
    read: Read,
    config: Any,
    full_names: bool,
    with_version: bool,
) -> None:
    started = time.monotonic()
    entities = [view_entities(view, request, config) for view, _ in request.views]
    asked = [
        (view, names, keys)
        for (view, names), (keys, _) in zip(request.views, entities, strict=True)
    ]
    reads = read_rows(read, config, asked)
    metrics.track_online_store_read(time.monotonic() - started)
    for (view, _), (_, order), (of_view, rows) in zip(request.views, entities, reads, strict=True):
        fill_response(
            response,
            view,
            of_view,
            rows,
            order,
            full_feature_names=full_names,
            with_version=with_version,
        )
