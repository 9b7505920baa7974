"""One FeatureService per model version names what that model reads, in training and serving."""

from feast import FeatureService

from feature_repo import feature_views as views
from feature_repo.declared_dataset import DATASET, ENCODER
from transformations.names import NEXT_ITEM_SERVICE, SERVICE

_profiles = [views.item_profile, *([views.user_profile] if DATASET.users is not None else [])]

ranker = FeatureService(
    name=SERVICE,
    features=[
        *_profiles,
        views.item_stats,
        views.user_stats,
        views.user_recent,
        views.item_embedding,
        views.user_embedding,
        views.user_interest,
    ],
    description="Features of the fusion ranker, version 1",
    tags={"encoder_id": ENCODER.encoder_id, "dataset": DATASET.name},
    owner="feast-fusion",
)

next_item = FeatureService(
    name=NEXT_ITEM_SERVICE,
    features=[
        views.item_neighbours,
        views.user_recent,
        views.user_stats[["last_event_s"]],
    ],
    description="What the next-item model reads: a user's history, versions of item models",
    tags={"dataset": DATASET.name},
    owner="feast-fusion",
)
