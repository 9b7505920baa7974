"""The views of vectors, of each declared encoder; a view's name ends in the id of its encoder.

So those of two encoders stand side by side, each with rows, a sink and a watermark of its own.
"""

from collections.abc import Callable

import pandas as pd
from feast import BatchFeatureView, Entity, FeatureView, Field, FileSource
from feast.types import Array, Float32

from feast_fusion.encoding.identity import EncoderIdentity
from feature_repo import feature_views as views
from feature_repo.declared_dataset import ENCODER, ENCODERS, USER_WRITER
from feature_repo.entities import item, user
from feature_repo.sources import sink_of
from transformations import names
from transformations.embedding import embed_behaviour, embed_items, embed_portraits, track_interest


def _vectors(
    encoder: EncoderIdentity,
    entity: Entity,
    source: FeatureView,
    sink: FileSource,
    transform: Callable[..., pd.DataFrame],
    description: str,
    **written_by: str,
) -> BatchFeatureView:
    """A view of vectors: one feature, which has the view's name without the encoder."""
    vector = Field(
        name=sink.name.partition("__")[0],
        dtype=Array(Float32),
        vector_index=True,
        vector_length=encoder.dimension,
        vector_search_metric="cosine",
    )
    models = {"encoder_id": encoder.encoder_id, **written_by}
    return views.derived(entity, source, sink, [vector], transform, description, models)


def _views_of(encoder: EncoderIdentity) -> dict[str, BatchFeatureView]:
    """By name without the encoder."""
    found = {
        names.ITEM_EMBEDDING: _vectors(
            encoder,
            item,
            views.item_profile,
            sink_of(names.ITEM_EMBEDDING, encoder.encoder_id),
            embed_items,
            "Embedding of the rendered item text, one row per version of the item",
        ),
        names.USER_EMBEDDING: _vectors(
            encoder,
            user,
            views.user_snapshot,
            sink_of(names.USER_EMBEDDING, encoder.encoder_id),
            embed_behaviour,
            "Embedding of the behaviour text, one row per snapshot",
        ),
        names.USER_INTEREST: _vectors(
            encoder,
            user,
            views.user_event,
            sink_of(names.USER_INTEREST, encoder.encoder_id),
            track_interest,
            "Moving average of the vectors of the user's items, one row per instant",
        ),
    }
    if USER_WRITER is not None:
        found[names.PORTRAIT_EMBEDDING] = _vectors(
            encoder,
            user,
            views.user_snapshot,
            # Of both models: another writer's portraits are other texts.
            sink_of(names.PORTRAIT_EMBEDDING, encoder.encoder_id, USER_WRITER.writer_id),
            embed_portraits,
            "Embedding of the portrait, one row per snapshot",
            writer_id=USER_WRITER.writer_id,
        )
    return found


BY_ENCODER = {encoder_id: _views_of(encoder) for encoder_id, encoder in ENCODERS.items()}
OF_MAIN = BY_ENCODER[ENCODER.encoder_id]
