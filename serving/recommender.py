"""Top N for a user: candidates, their features from the online store, the ranker's order."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import torch
from feast import FeatureStore

from serving.candidates import Catalogue, load_catalogue, load_seen
from serving.online_features import OnlineFeatures
from training.artifact import Artifact
from transformations.workspace import Workspace

# Candidates that are ranked; recall beyond it costs latency in proportion.
N_CANDIDATES = 500

_USER_VECTORS = ("user_interest", "user_embedding")


@dataclass(frozen=True)
class Recommendation:
    """One item of an answer, best first; `score` is the ranker's probability of a positive."""

    item_id: str
    title: str | None
    score: float


@dataclass(frozen=True)
class Recommendations:
    """An answer. `known_user` is False when the store had no vector of the user."""

    user_id: str
    items: list[Recommendation]
    n_candidates: int
    known_user: bool
    latency_ms: float


class Recommender:
    """Ranks the catalogue of one workspace with one artifact."""

    def __init__(
        self,
        workspace: Workspace,
        catalogue: Catalogue,
        features: OnlineFeatures,
        artifact: Artifact,
    ) -> None:
        self._workspace = workspace
        self._catalogue = catalogue
        self._features = features
        self._artifact = artifact

    @classmethod
    def open(cls, workspace: Workspace, store: FeatureStore, service: str) -> "Recommender":
        """The recommender of a workspace's newest artifact.

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
        artifact = Artifact.load(workspace.artifact)
        features = OnlineFeatures(store, service)
        if features.encoder_id is not None:
            artifact.require_encoder(features.encoder_id)
        catalogue = load_catalogue(workspace, features.encoder_id, features.dimension)
        return cls(workspace, catalogue, features, artifact)

    def recommend(self, user_id: str, n: int = 10) -> Recommendations:
        """The `n` best unseen items for the user, best first.

        A user without vectors gets popular candidates, ranked with what is known; `known_user`
        says so.
        """
        seen = load_seen(self._workspace, user_id)
        started = time.perf_counter()
        now = datetime.now(UTC)
        user = self._features.read_user(user_id)
        vectors = [user.vector(name) for name in _USER_VECTORS]
        queries = [vector for vector in vectors if vector is not None]
        candidates = self._catalogue.candidates(queries, seen, N_CANDIDATES)
        rows = self._features.rows(user, candidates, now)
        scores = self._artifact.score(rows)  # (n_candidates,)
        best = np.argsort(-scores, kind="stable")[:n]
        titles = rows.table[f"item_profile__{self._workspace.dataset.items.title}"]
        return Recommendations(
            user_id=user_id,
            items=[
                Recommendation(candidates[at], titles[at].as_py(), float(scores[at]))
                for at in best.tolist()
            ],
            n_candidates=len(candidates),
            known_user=bool(queries),
            latency_ms=(time.perf_counter() - started) * 1000,
        )
