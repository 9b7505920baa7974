"""One FeatureService per model version names what that model reads, in training and serving."""

from feast import FeatureService

from feature_repo import feature_views as views
from feature_repo.declared_dataset import DATASET, ENCODER, ITEM_WRITER, USER_WRITER
from transformations import names

_profiles = [views.item_profile, *([views.user_profile] if DATASET.users is not None else [])]
_written, _writers = [], {}
if ITEM_WRITER is not None:
    _written.append(views.item_attributes.with_name(names.ITEM_ATTRIBUTES))
    _writers["writer_id"] = ITEM_WRITER.writer_id
if USER_WRITER is not None:
    _written.append(views.portrait_embedding.with_name(names.PORTRAIT_EMBEDDING))
    _writers["user_writer_id"] = USER_WRITER.writer_id
    _asked = USER_WRITER.attributes
    # The text itself is in no training set and in no log of what was served: it is about a person.
    if _asked.choices or _asked.words:
        _categories = views.user_portrait[[*_asked.choices, *_asked.words]]
        _written.append(_categories.with_name(names.USER_PORTRAIT))
    portraits = FeatureService(
        name=names.PORTRAIT_SERVICE,
        features=[views.user_portrait[[*_asked.texts]].with_name(names.USER_PORTRAIT)],
        description="What a user's portrait says, for an explanation",
        tags={"dataset": DATASET.name, "writer_id": USER_WRITER.writer_id},
        owner="feast-fusion",
    )

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
        **_writers,
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
