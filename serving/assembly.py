"""A recommender with all that it reads, opened in order and closed in the opposite order."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from weakref import WeakValueDictionary

import torch
from feast import FeatureStore

from feast_fusion.redis_matrix import online_store_of
from intake.event_types import objectives_of
from intake.workspace import Workspace, with_encoders_anew
from serving.as_of import open_as_of
from serving.catalogue_watch import CatalogueWatch, Clock
from serving.live_users import LiveUsers
from serving.online_features import OnlineFeatures
from serving.portraits import Portraits
from serving.recommender import NO_LIVE_EVENTS, Recommender
from serving.served_log import ServedLog
from serving.served_models import OpenModel, ServedModels
from training.model_versions import ModelVersions
from training.promotions import Promotions
from transformations.embedder import Embedder
from transformations.names import ranker_service


@dataclass(frozen=True)
class _Assembly:
    """What every version of the model stands on."""

    workspace: Workspace
    store: FeatureStore
    live: LiveUsers = NO_LIVE_EVENTS
    served_log: ServedLog | None = None
    clock: Clock = field(default=lambda: datetime.now(UTC))
    embedders: WeakValueDictionary[str | None, Embedder] = field(
        default_factory=WeakValueDictionary
    )

    def embedder(self, encoder_id: str | None) -> Embedder:
        """One for all versions of an encoder that are open: they share its model.

        It may be declared since this process began.
        """
        found = self.embedders.get(encoder_id)
        if found is None:
            found = Embedder(with_encoders_anew(self.workspace), encoder_id)
            self.embedders[encoder_id] = found
        return found

    @contextmanager
    def open(self, version: str) -> Iterator[OpenModel]:
        """The recommender of a version, on the service and the vectors of its own encoder."""
        artifact = ModelVersions(self.workspace).load(version)
        service = ranker_service(artifact.encoder_id)
        self.store.refresh_registry()  # views of another encoder may be newer than what is cached
        features = OnlineFeatures(self.store, service)
        if features.encoder_id is not None:
            artifact.require_encoder(features.encoder_id)
        model, dataset = artifact.require_next_item(), self.workspace.dataset
        embedder = self.embedder(artifact.encoder_id)
        with ExitStack() as stack:
            if artifact.encoder_id is not None:
                stack.enter_context(self.live.interest_of(embedder))
            watch = stack.enter_context(
                CatalogueWatch(self.workspace, self.store, service, model, clock=self.clock)
            )
            recommender = Recommender(
                features,
                artifact,
                watch,
                embedder,
                partial(open_as_of, self.workspace, self.store, self.embedder),
                n_candidates=dataset.candidates.depth,
                objective=dataset.ranker,
                outcomes=objectives_of(dataset.interactions.types),
                repeats=dataset.candidates.repeats,
                variety=dataset.variety,
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
    *,
    live: LiveUsers = NO_LIVE_EVENTS,
    served_log: ServedLog | None = None,
) -> Iterator[ServedModels]:
    """The promoted versions, followed as they change; at the end the store leaves Redis.

    Parameters and errors are those of `open_recommender`.
    """
    assembly = _Assembly(workspace, store, live, served_log)
    with _reading(store), ServedModels(Promotions(workspace), assembly.open) as models:
        live.follow(lambda: models.prepared)
        yield models


@contextmanager
def open_recommender(
    workspace: Workspace,
    store: FeatureStore,
    *,
    live: LiveUsers = NO_LIVE_EVENTS,
    served_log: ServedLog | None = None,
    clock: Clock = lambda: datetime.now(UTC),
) -> Iterator[Recommender]:
    """The recommender of the version promoted now; at the end the store leaves Redis.

    Parameters
    ----------
    live, served_log, clock : see `Recommender`

    Raises
    ------
    FeatureNotFoundError
        There is no promoted model, prepared data or service of the model's encoder yet.
    """
    assembly = _Assembly(workspace, store, live, served_log, clock)
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
