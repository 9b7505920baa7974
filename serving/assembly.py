"""A recommender with all that it reads, opened in order and closed in the opposite order."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial

import torch
from feast import FeatureStore

from feast_fusion.feature_service import encoder_of, open_service
from feast_fusion.redis_matrix import online_store_of
from intake.event_types import objectives_of
from intake.workspace import Workspace
from serving.catalogue_watch import CatalogueWatch, Clock
from serving.live_users import LiveUsers
from serving.online_features import OnlineFeatures
from serving.past import open_as_of
from serving.portraits import Portraits
from serving.recommender import NO_LIVE_EVENTS, Recommender
from serving.served_log import ServedLog
from serving.served_models import OpenModel, ServedModels
from training.model_versions import ModelVersions
from training.promotions import Promotions
from transformations.embedder import Embedder


@dataclass(frozen=True)
class _Assembly:
    """What every version of the model stands on."""

    workspace: Workspace
    store: FeatureStore
    service: str
    live: LiveUsers = NO_LIVE_EVENTS
    served_log: ServedLog | None = None
    clock: Clock = field(default=lambda: datetime.now(UTC))

    @cached_property
    def embedder(self) -> Embedder:
        """One for all versions: they share its model."""
        return Embedder(self.workspace, encoder_of(open_service(self.store, self.service)))

    @contextmanager
    def open(self, version: str) -> Iterator[OpenModel]:
        """The recommender of a version."""
        artifact = ModelVersions(self.workspace).load(version)
        features = OnlineFeatures(self.store, self.service)
        if features.encoder_id is not None:
            artifact.require_encoder(features.encoder_id)
        model, dataset = artifact.require_next_item(), self.workspace.dataset
        with CatalogueWatch(
            self.workspace, self.store, self.service, model, clock=self.clock
        ) as watch:
            recommender = Recommender(
                features,
                artifact,
                watch,
                self.embedder,
                partial(open_as_of, self.workspace, self.store, self.service, self.embedder),
                n_candidates=dataset.candidates.depth,
                objective=dataset.ranker,
                outcomes=objectives_of(dataset.interactions.types),
                repeats=dataset.candidates.repeats,
                context=dataset.interactions.context,
                live=self.live,
                served_log=self.served_log,
                portrait_of=Portraits(self.store).now,
                clock=self.clock,
            )
            yield OpenModel(recommender, watch)


@contextmanager
def open_models(
    workspace: Workspace,
    store: FeatureStore,
    service: str,
    *,
    live: LiveUsers = NO_LIVE_EVENTS,
    served_log: ServedLog | None = None,
) -> Iterator[ServedModels]:
    """The promoted versions, followed as they change; at the end the store leaves Redis.

    Parameters and errors are those of `open_recommender`.
    """
    assembly = _Assembly(workspace, store, service, live, served_log)
    with _reading(store), ServedModels(Promotions(workspace), assembly.open) as models:
        live.follow(lambda: models.prepared)
        yield models


@contextmanager
def open_recommender(
    workspace: Workspace,
    store: FeatureStore,
    service: str,
    *,
    live: LiveUsers = NO_LIVE_EVENTS,
    served_log: ServedLog | None = None,
    clock: Clock = lambda: datetime.now(UTC),
) -> Iterator[Recommender]:
    """The recommender of the version promoted now; at the end the store leaves Redis.

    Parameters
    ----------
    service : name of the feature service whose features the model was trained on
    live, served_log, clock : see `Recommender`

    Raises
    ------
    FeatureNotFoundError
        There is no promoted model, service or prepared data yet.
    EncoderMismatchError
        The model was trained on vectors of another encoder than the service has.
    """
    assembly = _Assembly(workspace, store, service, live, served_log, clock)
    with _reading(store), assembly.open(Promotions(workspace).read().main) as opened:
        live.follow(lambda: opened.watch.prepared)
        yield opened.recommender


@contextmanager
def _reading(store: FeatureStore) -> Iterator[None]:
    # A few hundred rows of a small model: threads cost more in waiting for each other (five
    # times, on a machine with one busy core) than they save. Callers scale by processes.
    torch.set_num_threads(1)
    try:
        yield
    finally:  # before Redis stops: the item cache would take a stopped Redis for an outage
        online_store_of(store).disconnect()
