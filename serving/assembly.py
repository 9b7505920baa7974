"""A recommender with all that it reads, opened in order and closed in the opposite order."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial

import torch
from feast import FeatureStore

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
from training.ranker.artifact import Artifact
from transformations.embedder import Embedder


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
    """The recommender of a workspace's newest artifact; at the end the store leaves Redis.

    Parameters
    ----------
    service : name of the feature service whose features the artifact was trained on
    live, served_log, clock : see `Recommender`

    Raises
    ------
    FeatureNotFoundError
        There is no artifact, service or prepared data yet.
    EncoderMismatchError
        The artifact was trained on vectors of another encoder than the service has.
    """
    # A few hundred rows of a small model: threads cost more in waiting for each other (five
    # times, on a machine with one busy core) than they save. Callers scale by processes.
    torch.set_num_threads(1)
    dataset = workspace.dataset
    with ExitStack() as stack:
        # Before Redis stops: the item cache would take a stopped Redis for an outage.
        stack.callback(online_store_of(store).disconnect)
        artifact = Artifact.load(workspace.artifact)
        features = OnlineFeatures(store, service)
        encoder_id = features.encoder_id
        if encoder_id is not None:
            artifact.require_encoder(encoder_id)
        embedder = Embedder(workspace, encoder_id)
        model = artifact.require_next_item()
        watch = stack.enter_context(CatalogueWatch(workspace, store, service, model, clock=clock))
        live.follow(lambda: watch.prepared)
        yield Recommender(
            features,
            artifact,
            watch,
            embedder,
            partial(open_as_of, workspace, store, service, embedder),
            n_candidates=dataset.candidates.depth,
            objective=dataset.ranker,
            outcomes=objectives_of(dataset.interactions.types),
            repeats=dataset.candidates.repeats,
            context=dataset.interactions.context,
            live=live,
            served_log=served_log,
            portrait_of=Portraits(store).now,
            clock=clock,
        )
