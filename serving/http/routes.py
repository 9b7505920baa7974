"""The functions of the routes; nothing here computes."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import Query, Request
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.responses import JSONResponse, Response

from feast_fusion.errors import SchemaError, StoreUnavailableError
from feast_fusion.tracing import span
from intake.dataset import Dataset
from serving.answers import OVERLOADED, Recommendations, SimilarItem
from serving.http.body import Count, Filter, Identifier
from serving.http.embeddings import TextEncoding
from serving.http.metric_peers import MetricPeers
from serving.http.metric_reading import MetricReading
from serving.http.overload import within
from serving.http.problems import ProblemError, busy_response
from serving.http.readiness import Readiness
from serving.http.request_ids import request_id
from serving.http.requests import (
    EmbeddingsRequest,
    EventsRequest,
    RankRequest,
    RecommendRequest,
    SimilarRequest,
)
from serving.http.service_metrics import ServiceMetrics
from serving.http.settings import ServiceSettings
from serving.http.status import describe_dataset, describe_status
from serving.http.work_queue import DeadlineExceededError
from serving.live.acceptance import Acceptance
from serving.live.event_intake import EventIntake
from serving.request_context import Context
from serving.served_models import ServedModels

_EMBEDDING_THREADS = 16  # they wait for each other, so that their texts are encoded together


class Health(BaseModel):
    """A health check that passed."""

    status: Literal["live", "ready"]


class SimilarItems(BaseModel):
    """Nearest first."""

    items: list[SimilarItem]


class Routes:
    """The routes' functions. They answer with bytes: no model checks an answer of 500 items."""

    def __init__(
        self,
        models: ServedModels,
        intake: EventIntake,
        encoding: TextEncoding,
        dataset: Dataset,
        settings: ServiceSettings,
        peers: MetricPeers | None,
    ) -> None:
        self.metrics = ServiceMetrics(peers)
        self._models, self._intake = models, intake
        self._encoding, self._dataset, self._settings = encoding, dataset, settings
        self._ranking = self.metrics.new_queue("rank", settings.rank_threads)
        self._taking = self.metrics.new_queue("events", settings.event_threads)
        self._embedding = self.metrics.new_queue("embed", _EMBEDDING_THREADS)
        self._probing = self.metrics.new_queue("ready", 1)
        self._readiness = Readiness(models, intake, self._probing)
        self.metrics.watch_events(intake)

    async def close(self) -> None:
        """What was taken on is finished before this returns."""
        for queue in (self._ranking, self._taking, self._embedding, self._probing):
            await asyncio.to_thread(queue.close)

    async def recommend(self, request: Request, body: RecommendRequest) -> Response:
        """The n items of the catalogue that the user will like most, best first."""
        call = partial(
            self._models.recommend,
            body.user_id,
            body.n,
            query=body.query,
            filter=body.filter,
            exclude=body.exclude,
            explain=body.explain,
            debug=body.debug,
            context=self._context_of(body),
            objective=body.objective.weights(),
            variety=body.variety(),
            session=body.visit(),
            request_id=request_id.get(),
            version=body.model,
        )
        popular = self._models.of(body.user_id, body.model).recommend_popular
        instead = partial(
            popular,
            body.user_id,
            body.n,
            body.exclude,
            OVERLOADED,
            filter=body.filter,
            variety=body.variety(),
            query=body.query,
            session=body.visit(),
        )
        return await self._ranked(request, call, instead)

    async def recommend_to(
        self,
        request: Request,
        user_id: Identifier,
        n: Annotated[Count, Query()] = 10,
        filter: Annotated[Filter, Query()] = None,
    ) -> Response:
        """The same with defaults, for a browser's address line."""
        body = RecommendRequest(user_id=user_id, n=n, filter=filter)
        return await self.recommend(request, body)

    async def rank(self, request: Request, body: RankRequest) -> Response:
        """The given items in the order in which the user will like them."""
        recommender = self._models.of(body.user_id)
        call = partial(
            recommender.rank,
            body.user_id,
            body.item_ids,
            query=body.query,
            explain=body.explain,
            debug=body.debug,
            context=self._context_of(body),
            session=body.visit(),
        )
        by_popularity = recommender.rank_by_popularity
        instead = partial(by_popularity, body.user_id, body.item_ids, OVERLOADED, body.query)
        return await self._ranked(request, call, instead)

    async def similar(self, body: SimilarRequest) -> Response:
        """The nearest items to an item or a text."""

        def find() -> bytes:
            found = self._models.main.similar(
                item_id=body.item_id, text=body.text, n=body.n, filter=body.filter
            )
            return to_json({"items": found})

        return _json(await within(self._ranking, self._settings.deadline_ms / 1000, find))

    async def post_events(self, body: EventsRequest) -> Response:
        """Interactions that happened: on disk when this answers, then in the features."""
        # Not begun is not written, so a client may try again; what has begun is waited for.
        taken = await within(
            self._taking,
            None,
            partial(self._accept, body.events),
            begin_s=self._settings.event_deadline_ms / 1000,
        )
        self.metrics.add_events(Counter(outcome.status for outcome in taken.outcomes))
        if all(outcome.status == "rejected" for outcome in taken.outcomes):
            raise _nothing_accepted(taken)
        if body.wait_ms and not taken.applied.done():
            # here, where it takes no thread from those that write
            await asyncio.wait([asyncio.wrap_future(taken.applied)], timeout=body.wait_ms / 1000)
        # not by pydantic: a rejected event_id may be half of a surrogate pair
        outcomes = [vars(outcome) for outcome in taken.outcomes]
        return _json(json.dumps({"outcomes": outcomes, "applied": taken.applied.done()}))

    def _accept(self, events: Sequence[Mapping[str, Any]]) -> Acceptance:
        try:
            with span("journal"):
                return self._intake.accept(events)
        except StoreUnavailableError:
            self.metrics.add_unwritten()
            raise

    async def embed(self, body: EmbeddingsRequest) -> Response:
        """Vectors of texts, by the encoder of the item vectors."""
        self._encoding.require(body)
        deadline_s = self._settings.embedding_deadline_ms / 1000
        answer = partial(self._encoding.answer, body, deadline_s)
        return _json(await within(self._embedding, deadline_s, answer))

    async def list_models(self) -> Response:
        """The names of the encoder, which /v1/embeddings takes."""
        return _json(self._encoding.models())

    async def live(self) -> Response:
        """Whether the process answers at all."""
        return JSONResponse({"status": "live"})

    async def ready(self) -> Response:
        """Whether answers are whole and events accepted: a real read of the online store."""
        missing = await self._readiness.missing()
        if missing is not None:
            return busy_response(503, f"Not ready: {missing}")
        return JSONResponse({"status": "ready"})

    async def show_status(self) -> Response:
        """How the service is, of all its processes: the numbers of /metrics, read for a person."""
        missing = await self._readiness.missing()

        def describe() -> str:
            reading = MetricReading(self.metrics.render().decode())
            models, values = self._models, self._intake.value_range
            dataset = describe_dataset(self._dataset, models.catalogue, values)
            return describe_status(reading, models, dataset, missing).model_dump_json()

        return _json(await asyncio.to_thread(describe))

    async def show_metrics(self) -> Response:
        """Counts and times in Prometheus' format."""
        body = await asyncio.to_thread(self.metrics.render)  # it looks at files
        return Response(body, media_type=CONTENT_TYPE_LATEST)

    def _context_of(self, body: RecommendRequest | RankRequest) -> Context:
        try:
            return self._models.main.context.check(body.context or {})
        except SchemaError as error:
            field = {"field": "body.context", "detail": str(error)}
            raise ProblemError(422, f"body.context: {error}", errors=[field]) from None

    async def _ranked(
        self,
        request: Request,
        call: Callable[[], Recommendations],
        instead: Callable[[], Recommendations],
    ) -> Response:
        """The answer of `call`, or of `instead` where that does not come in time."""

        def answer() -> tuple[Recommendations, bytes]:
            found = call()
            return found, to_json(found, inf_nan_mode="null")

        settings = self._settings
        try:
            found, body = await self._ranking.run(
                settings.deadline_ms / 1000,
                answer,
                begin_s=min(settings.queue_ms, settings.deadline_ms) / 1000,
            )
        except DeadlineExceededError:
            found = instead()  # here and now: it takes less than handing it to a thread
            body = to_json(found, inf_nan_mode="null")
        self.metrics.add_answer(found.model)
        if found.degraded:
            request.state.degraded = True
            self.metrics.add_degraded(found.reasons)
        return _json(body)


def _nothing_accepted(taken: Acceptance) -> ProblemError:
    errors = [
        {"field": f"body.events.{at}", "detail": outcome.reason}
        for at, outcome in enumerate(taken.outcomes)
    ]
    detail = f"No event was accepted. {errors[0]['field']}: {errors[0]['detail']}."
    return ProblemError(422, detail, errors=errors)


def _json(body: bytes | str) -> Response:
    return Response(body, media_type="application/json")
