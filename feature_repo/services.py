"""One FeatureService per encoder names what versions of the model on it read."""

from feast import FeatureService

from feature_repo import feature_views as views
from feature_repo.declared_dataset import DATASET, ENCODER, ITEM_WRITER, USER_WRITER
from feature_repo.vector_views import BY_ENCODER
from transformations import names

_profiles = [views.item_profile, *([views.user_profile] if DATASET.users is not None else [])]
_written, _writers = [], {}
if ITEM_WRITER is not None:
    _written.append(views.item_attributes.with_name(names.ITEM_ATTRIBUTES))
    _writers["writer_id"] = ITEM_WRITER.writer_id
if USER_WRITER is not None:
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


def _ranker(name: str, encoder_id: str, description: str) -> FeatureService:
    return FeatureService(
        name=name,
        features=[
            *_profiles,
            views.item_stats,
            views.user_stats,
            views.user_recent,
            # Under these names whatever the encoder, so that another one renames no column.
            *(view.with_name(name) for name, view in BY_ENCODER[encoder_id].items()),
            *_written,
        ],
        description=description,
        tags={"encoder_id": encoder_id, "dataset": DATASET.name, **_writers},
        owner="feast-fusion",
    )


ranker = _ranker(
    names.SERVICE, ENCODER.encoder_id, "Features of the fusion ranker, version 1, by [encoder]"
)
# A version of the model reads that of its encoder: it stays the same whichever is the main one.
RANKERS = [
    _ranker(names.ranker_service(each), each, "Features of the fusion ranker, version 1")
    for each in BY_ENCODER
]

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
