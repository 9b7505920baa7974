"""What would have been answered at one instant, by the version that is promoted."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Unpack

from feast import FeatureStore

from feast_fusion.times import to_micros
from intake.workspace import Workspace
from serving.answers import Recommendations
from serving.asking import PastOptions
from serving.past import PastRecommender
from serving.query import read_query
from serving.request_context import NOTHING, Context
from training.model_versions import ModelVersions
from training.promotions import Promotions
from transformations.embedder import Embedder

EmbedderOf = Callable[[str | None], Embedder]


@dataclass(frozen=True)
class AsOf:
    """What would have been answered at one instant."""

    past: PastRecommender
    at: datetime
    embedder: Embedder

    def recommend(
        self,
        user_id: str,
        n: int = 10,
        *,
        query: str | None = None,
        context: Context = NOTHING,
        **asked: Unpack[PastOptions],
    ) -> Recommendations:
        """As `Recommender.recommend`, which explores nothing then.

        Of live events it knows those that were prepared since.
        """
        read = partial(read_query, embedder=self.embedder, text=query)
        return self.past.recommend(user_id, self.at, n, query=read, context=context, **asked)


def open_as_of(
    workspace: Workspace, store: FeatureStore, embedder_of: EmbedderOf, at: datetime
) -> AsOf:
    """The answers of an instant, by the promoted version, fitted to earlier events alone.

    Where both of its artifacts have seen later events, answers say so (`MODEL_FROM_LATER`).

    Parameters
    ----------
    embedder_of : opens the embedder of an encoder id
    """
    models, name = ModelVersions(workspace), Promotions(workspace).read().main
    served = models.load(name)
    is_later = served.require_next_item().fitted_until >= to_micros(at)
    artifact = models.load_before_test(name) if is_later else served
    past = PastRecommender(workspace, store, artifact)
    return AsOf(past, at, embedder_of(artifact.encoder_id))
