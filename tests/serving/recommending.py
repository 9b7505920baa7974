"""A recommender on the data set `films`, on a Redis that a test may stop; rows of new users."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from feast import FeatureStore

from cli.embedded_redis import embedded_redis
from cli.feast_repository import open_store
from cli.redis_process import RunningRedis
from cli.redis_url import connection_string
from feast_fusion.training_set import TrainingSet
from intake.workspace import Workspace
from serving.assembly import open_recommender
from serving.catalogue import Catalogue, load_catalogue
from serving.online_features import OnlineFeatures, UserFeatures
from serving.recommender import Recommender
from tests.feast_fusion.online.online_repo import PATIENT
from tests.trained import served
from training.ranker.collaborative import with_numbers
from transformations.interest import replay
from transformations.names import SERVICE


@dataclass(frozen=True)
class Bench:
    """A recommender, and what it reads."""

    workspace: Workspace
    recommender: Recommender
    store: FeatureStore
    features: OnlineFeatures
    catalogue: Catalogue
    redis: RunningRedis

    def rows(self, user: UserFeatures, item_ids: Sequence[str]) -> TrainingSet:
        """What the ranker would read of these items, joined row by row, as of now."""
        replies = self.features.read_items(item_ids)
        rows = self.features.join(user, item_ids, replies, datetime.now(UTC))
        return with_numbers(rows, self.catalogue.collaboration.numbers_of_rows(rows))

    def write(self, view: str, **columns: Any) -> None:
        """One online row, of now."""
        row = {name: [value] for name, value in columns.items()}
        frame = pd.DataFrame({"event_timestamp": [datetime.now(UTC)], **row})
        self.store.write_to_online_store(view, df=frame)

    def write_user(self, user_id: str, liked: Sequence[str]) -> None:
        """What the online store has after a new user liked these items, one a minute."""
        n, now = len(liked), int(datetime.now(UTC).timestamp())
        self.write(
            "user_recent",
            user_id=user_id,
            item_ids=list(liked)[::-1],
            values=[5.0] * n,
            positives=[1] * n,
            ages_s=[60 * at for at in range(n)],
        )
        self.write(
            "user_stats",
            user_id=user_id,
            user_n_events=n,
            user_n_positive=n,
            user_positive_rate=1.0,
            user_value_mean=5.0,
            user_value_std=0.0,
            user_n_events_short=n,
            user_n_events_long=n,
            user_first_event_s=now - 60 * n,
            user_last_event_s=now,
            categories=["Drama"],
            category_events=[1],
            category_positives=[1],
        )
        vectors = np.stack([self.catalogue.vector(item_id) for item_id in liked])
        state = replay(vectors, np.ones(n, bool), np.ones(n), [n], np.full(n, 0.9))[-1]
        assert state is not None
        view = f"user_interest__{self.features.encoder_id}"
        self.write(view, user_id=user_id, user_interest=state.tolist())


@contextmanager
def open_bench(
    workspace: Workspace, folder: Path, *, is_patient: bool = True, **options: Any
) -> Iterator[Bench]:
    """A recommender on a copy of the workspace's Redis, which lives in `folder`."""
    folder.mkdir()
    shutil.copy(workspace.redis / "dump.rdb", folder)
    with embedded_redis(folder) as redis:
        store = open_store(workspace, connection_string(redis.url))
        if is_patient:
            online = store.config.online_store
            store.config._online_store = online.model_copy(update=PATIENT)
        features = OnlineFeatures(store, SERVICE)
        model = served(workspace).require_next_item()
        catalogue = load_catalogue(workspace, store, SERVICE, model, datetime.now(UTC))
        with open_recommender(workspace, store, **options) as recommender:
            yield Bench(workspace, recommender, store, features, catalogue, redis)
