"""One FeatureService per model version names what that model reads, in training and serving."""

from feast import FeatureService

from feature_repo import feature_views as views
from feature_repo.declared_dataset import DATASET, ENCODER, WRITER
from transformations import names

_profiles = [views.item_profile, *([views.user_profile] if DATASET.users is not None else [])]
_written = [views.item_attributes.with_name(names.ITEM_ATTRIBUTES)] if WRITER is not None else []

ranker = FeatureService(
    name=names.SERVICE,
    features=[
        *_profiles,
        views.item_stats,
        views.user_stats,
        views.user_recent,
        # Under these names whatever the encoder, so that another one renames no column.
        views.item_embedding.with_name(names.ITEM_EMBEDDING),
        views.user_embedding.with_name(names.USER_EMBEDDING),
        views.user_interest.with_name(names.USER_INTEREST),
        *_written,
    ],
    description="Features of the fusion ranker, version 1",
    tags={
        "encoder_id": ENCODER.encoder_id,
        "dataset": DATASET.name,
        **({} if WRITER is None else {"writer_id": WRITER.writer_id}),
    },
    owner="feast-fusion",
)

next_item = FeatureService(
    name=names.NEXT_ITEM_SERVICE,
    features=[
        views.item_neighbours,
        views.user_recent,
        views.user_stats[["user_last_event_s"]],
    ],
    description="What the next-item model reads: a user's history, versions of item models",
    tags={"dataset": DATASET.name},
    owner="feast-fusion",
)
