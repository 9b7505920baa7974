"""The recommender as an HTTP application: its routes, gate and problems."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version

from fastapi import APIRouter, Depends, FastAPI
from fastapi.security import APIKeyHeader, HTTPBearer
from prometheus_client.registry import Collector
from starlette.responses import PlainTextResponse

from intake.dataset import Dataset
from serving.answers import Recommendations
from serving.http.docs_page import SCHEMA, add_docs
from serving.http.embeddings import EmbeddingsAnswer, Models, TextEncoding
from serving.http.gate import RequestGate
from serving.http.lookups import FoundUsers, Lookups
from serving.http.metric_peers import MetricPeers
from serving.http.page_files import add_page
from serving.http.problems import (
    describe_problems,
    install_problems,
    refuse_unknown_parameters,
)
from serving.http.removals import Removal, Removals, Remove
from serving.http.routes import Health, Routes, SimilarItems
from serving.http.row_routes import RowRoutes
from serving.http.settings import ServiceSettings
from serving.http.status import Status
from serving.item_record import ItemRecord
from serving.live.acceptance import Submission
from serving.live.event_intake import EventIntake
from serving.posted.row_intake import RowIntake
from serving.posted.row_outcome import RowSubmission
from serving.served_models import ServedModels
from serving.user_history import UserHistory
from serving.user_search import UserSearch


def create_app(
    models: ServedModels,
    intake: EventIntake,
    rows: RowIntake,
    users: UserSearch,
    encoding: TextEncoding,
    below: Collector,
    dataset: Dataset,
    settings: ServiceSettings,
    peers: MetricPeers | None = None,
    remove: Remove | None = None,
) -> FastAPI:
    """The ASGI application on models and intakes, which the caller opens and closes.

    Parameters
    ----------
    users : looks users up
    encoding : what /v1/embeddings answers with
    below : the metrics of all this
    dataset : what it is about
    peers : the other processes of the port, None where this one is alone
    remove : forgets a user; without it there is no such route
    """
    routes = Routes(models, intake, encoding, dataset, settings, peers)
    row_routes = RowRoutes(rows, settings, routes.metrics)
    lookups = Lookups(models, users, settings, routes.metrics)
    removals = None if remove is None else Removals(remove, routes.metrics)
    routes.metrics.watch_library(below, settings.deadline_ms)
    app = FastAPI(
        title="feast-fusion",
        description="Top N from Redis, with features that follow events as they happen.",
        version=version("feast-fusion"),
        docs_url=None,  # its scripts would come from elsewhere
        redoc_url=None,
        openapi_url=SCHEMA if settings.docs else None,
        swagger_ui_oauth2_redirect_url=None,
        redirect_slashes=False,
        lifespan=partial(
            _lifespan, [each for each in (removals, lookups, row_routes, routes) if each]
        ),
        # its records hold what was asked
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.add_middleware(RequestGate, settings=settings, metrics=routes.metrics)
    install_problems(app)
    if settings.docs:
        add_docs(app)
    add_page(app)
    _add_routes(app, routes, row_routes, lookups, removals, settings)
    return app


@asynccontextmanager
async def _lifespan(
    closing: Iterable[Routes | RowRoutes | Lookups | Removals], _: FastAPI
) -> AsyncIterator[None]:
    """What was taken on is finished before the application ends."""
    yield
    for each in closing:
        await each.close()


def _add_routes(
    app: FastAPI,
    routes: Routes,
    rows: RowRoutes,
    lookups: Lookups,
    removals: Removals | None,
    settings: ServiceSettings,
) -> None:
    # The gate checks keys; these two put the fields for a key on the documentation's page.
    bearer, header = HTTPBearer(auto_error=False), APIKeyHeader(name="X-API-Key", auto_error=False)
    key = [] if settings.api_key is None else [Depends(bearer), Depends(header)]
    always = [*key, Depends(refuse_unknown_parameters)]
    gets = APIRouter(
        dependencies=always, responses=describe_problems(400, 401, 404, 422, 429, 500, 503)
    )
    posts = APIRouter(
        dependencies=always,
        responses=describe_problems(400, 401, 404, 408, 413, 415, 422, 429, 500, 503),
    )
    posts.post("/recommend", response_model=Recommendations)(routes.recommend)
    gets.get("/recommend/{user_id:path}", response_model=Recommendations)(routes.recommend_to)
    posts.post("/rank", response_model=Recommendations)(routes.rank)
    posts.post("/similar", response_model=SimilarItems)(routes.similar)
    posts.post("/events", response_model=Submission)(routes.post_events)
    posts.post("/items", response_model=RowSubmission)(rows.post_items)
    posts.patch("/items/{item_id:path}", response_model=RowSubmission)(rows.patch_item)
    posts.delete("/items/{item_id:path}", response_model=RowSubmission)(rows.delete_item)
    posts.post("/users", response_model=RowSubmission)(rows.post_users)
    posts.patch("/users/{user_id:path}", response_model=RowSubmission)(rows.patch_user)
    if removals is not None:
        path = "/users/{user_id:path}"
        posts.delete(path, response_model=Removal, status_code=202)(removals.forget)
    posts.post("/v1/embeddings", response_model=EmbeddingsAnswer)(routes.embed)
    gets.get("/users", response_model=FoundUsers)(lookups.users)
    gets.get("/users/{user_id:path}/history", response_model=UserHistory)(lookups.history)
    gets.get("/items/{item_id:path}", response_model=ItemRecord)(lookups.item)
    gets.get("/status", response_model=Status)(routes.show_status)
    gets.get("/v1/models", response_model=Models)(routes.list_models)
    # Scrapers and probes bring parameters of their own.
    metrics = app.get(
        "/metrics",
        response_class=PlainTextResponse,
        dependencies=key,
        responses=describe_problems(401, 429, 500),
    )
    metrics(routes.show_metrics)
    app.get("/health/live", response_model=Health)(routes.live)
    app.get("/health/ready", response_model=Health, responses=describe_problems(503))(routes.ready)
    app.include_router(gets)
    app.include_router(posts)
