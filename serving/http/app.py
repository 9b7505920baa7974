"""The recommender as an HTTP service: routes, and nothing that computes."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.security import APIKeyHeader, HTTPBearer
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.responses import JSONResponse, PlainTextResponse, Response

from feast_fusion.errors import SchemaError, StoreUnavailableError
from feast_fusion.tracing import span
from serving.answers import OVERLOADED, Recommendations, SimilarItem
from serving.http.docs_page import SCHEMA, add_docs
from serving.http.embeddings import EmbeddingsAnswer, Models, TextEncoding
from serving.http.gate import RequestGate
from serving.http.metric_peers import MetricPeers
from serving.http.problems import ProblemError, busy_response, describe_problems, install_problems
from serving.http.readiness import Readiness
from serving.http.requests import (
    Count,
    EmbeddingsRequest,
    EventsRequest,
    Identifier,
    RankRequest,
    RecommendRequest,
    SimilarRequest,
)
from serving.http.service_metrics import ServiceMetrics
from serving.http.settings import ServiceSettings
from serving.http.work_queue import DeadlineExceededError, WorkQueue
from serving.live.acceptance import Acceptance, Submission
from serving.live.event_intake import EventIntake
from serving.request_context import Context
from serving.served_models import ServedModels

_EMBEDDING_THREADS = 16  # they wait for each other, so that their texts are encoded together
_T = TypeVar("_T")


class Health(BaseModel):
    """A health check that passed."""

    status: Literal["live", "ready"]


class SimilarItems(BaseModel):
    """Nearest first."""

    items: list[SimilarItem]


def create_app(
    models: ServedModels,
    intake: EventIntake,
    encoding: TextEncoding,
    below: Collector,
    settings: ServiceSettings,
    peers: MetricPeers | None = None,
) -> FastAPI:
    """The ASGI application on models and an intake, which the caller opens and closes.

    Parameters
    ----------
    encoding : what /v1/embeddings answers with
    below : the metrics of all this
    peers : the other processes of the port, None where this one is alone
    """
    service = _Service(models, intake, encoding, settings, peers)
    service.metrics.watch_library(below, settings.deadline_ms)
    app = FastAPI(
        title="feast-fusion",
        description="Top N from Redis, with features that follow events as they happen.",
        version=version("feast-fusion"),
        docs_url=None,  # its scripts would come from elsewhere
        redoc_url=None,
        openapi_url=SCHEMA if settings.docs else None,
        swagger_ui_oauth2_redirect_url=None,
        redirect_slashes=False,
        lifespan=service.lifespan,
        # its records hold what was asked
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.add_middleware(RequestGate, settings=settings, metrics=service.metrics)
    install_problems(app)
    if settings.docs:
        add_docs(app)
    _add_routes(app, service, needs_key=settings.api_key is not None)
    return app


def _add_routes(app: FastAPI, service: "_Service", *, needs_key: bool) -> None:
    # The gate checks keys; these two put the fields for a key on the documentation's page.
    bearer, header = HTTPBearer(auto_error=False), APIKeyHeader(name="X-API-Key", auto_error=False)
    key = [Depends(bearer), Depends(header)] if needs_key else []
    gets = APIRouter(
        dependencies=key, responses=describe_problems(400, 401, 404, 422, 429, 500, 503)
    )
    posts = APIRouter(
        dependencies=key,
        responses=describe_problems(400, 401, 404, 408, 413, 415, 422, 429, 500, 503),
    )
    posts.post("/recommend", response_model=Recommendations)(service.recommend)
    gets.get("/recommend/{user_id:path}", response_model=Recommendations)(service.recommend_to)
    posts.post("/rank", response_model=Recommendations)(service.rank)
    posts.post("/similar", response_model=SimilarItems)(service.similar)
    posts.post("/events", response_model=Submission)(service.post_events)
    posts.post("/v1/embeddings", response_model=EmbeddingsAnswer)(service.embed)
    gets.get("/v1/models", response_model=Models)(service.list_models)
    gets.get("/metrics", response_class=PlainTextResponse)(service.show_metrics)
    app.get("/health/live", response_model=Health)(service.live)
    app.get("/health/ready", response_model=Health, responses=describe_problems(503))(service.ready)
    app.include_router(gets)
    app.include_router(posts)


class _Service:
    """The routes' functions. They answer with bytes: no model checks an answer of 500 items."""

    def __init__(
        self,
        models: ServedModels,
        intake: EventIntake,
        encoding: TextEncoding,
        settings: ServiceSettings,
        peers: MetricPeers | None,
    ) -> None:
        self.metrics = ServiceMetrics(peers)
        self._models, self._intake = models, intake
        self._encoding, self._settings = encoding, settings
        self._ranking = self.metrics.new_queue("rank", settings.rank_threads)
        self._taking = self.metrics.new_queue("events", settings.event_threads)
        self._embedding = self.metrics.new_queue("embed", _EMBEDDING_THREADS)
        self._probing = self.metrics.new_queue("ready", 1)
        self._readiness = Readiness(models, intake, self._probing)
        self.metrics.watch_events(intake)

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """What was taken on is finished before the application ends."""
        yield
        for queue in (self._ranking, self._taking, self._embedding, self._probing):
            await asyncio.to_thread(queue.close)

    async def recommend(self, request: Request, body: RecommendRequest) -> Response:
        """The n items of the catalogue that the user will like most, best first."""
        call = partial(
            self._models.recommend,
            body.user_id,
            body.n,
            query=body.query,
            exclude=body.exclude,
            explain=body.explain,
            context=self._context_of(body),
        )
        popular = self._models.of(body.user_id).recommend_popular
        instead = partial(popular, body.user_id, body.n, body.exclude, OVERLOADED)
        return await self._ranked(request, call, instead)

    async def recommend_to(
        self, request: Request, user_id: Identifier, n: Annotated[Count, Query()] = 10
    ) -> Response:
        """The same with defaults, for a browser's address line."""
        return await self.recommend(request, RecommendRequest(user_id=user_id, n=n))

    async def rank(self, request: Request, body: RankRequest) -> Response:
        """The given items in the order in which the user will like them."""
        recommender = self._models.of(body.user_id)
        call = partial(
            recommender.rank,
            body.user_id,
            body.item_ids,
            query=body.query,
            explain=body.explain,
            context=self._context_of(body),
        )
        instead = partial(recommender.rank_by_popularity, body.user_id, body.item_ids, OVERLOADED)
        return await self._ranked(request, call, instead)

    async def similar(self, body: SimilarRequest) -> Response:
        """The nearest items to an item or a text."""

        def find() -> bytes:
            found = self._models.main.similar(item_id=body.item_id, text=body.text, n=body.n)
            return to_json({"items": found})

        return _json(await self._within(self._ranking, self._settings.deadline_ms / 1000, find))

    async def post_events(self, body: EventsRequest) -> Response:
        """Interactions that happened: on disk when this answers, then in the features."""
        # Not begun is not written, so a client may try again; what has begun is waited for.
        taken = await self._within(
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
        return _json(await self._within(self._embedding, deadline_s, answer))

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

    async def _within(
        self,
        queue: WorkQueue,
        deadline_s: float | None,
        call: Callable[[], _T],
        begin_s: float | None = None,
    ) -> _T:
        try:
            return await queue.run(deadline_s, call, begin_s=begin_s)
        except DeadlineExceededError as error:
            detail = f"The answer was {error}: the service is overloaded. Try again later."
            raise ProblemError(503, detail, headers={"Retry-After": "1"}) from None


def _nothing_accepted(taken: Acceptance) -> ProblemError:
    errors = [
        {"field": f"body.events.{at}", "detail": outcome.reason}
        for at, outcome in enumerate(taken.outcomes)
    ]
    detail = f"No event was accepted. {errors[0]['field']}: {errors[0]['detail']}."
    return ProblemError(422, detail, errors=errors)


def _json(body: bytes | str) -> Response:
    return Response(body, media_type="application/json")
