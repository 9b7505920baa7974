"""Features computed when they are asked for, by the main encoder."""

from feast import Field, OnDemandFeatureView
from feast.types import Array, Float32, Float64

from feature_repo import sources
from feature_repo.declared_dataset import ENCODER
from feature_repo.transformation_source import on_demand
from feature_repo.vector_views import OF_MAIN
from transformations import names
from transformations.on_demand import AFFINITIES, embed_query, measure_affinity

query_embedding = OnDemandFeatureView(
    name=names.QUERY_EMBEDDING,
    sources=[sources.query],
    schema=[Field(name=names.QUERY_EMBEDDING, dtype=Array(Float32))],
    mode="python",
    description="Embedding of the request's text by the encoder of the item vectors",
    owner="feast-fusion",
    **on_demand(embed_query, {names.QUERY_EMBEDDING: [0.0] * ENCODER.dimension}),
)
user_item_affinity = OnDemandFeatureView(
    name=names.USER_ITEM_AFFINITY,
    sources=[
        OF_MAIN[names.ITEM_EMBEDDING][[names.ITEM_EMBEDDING]],
        OF_MAIN[names.USER_EMBEDDING][[names.USER_EMBEDDING]],
        OF_MAIN[names.USER_INTEREST][[names.USER_INTEREST]],
        sources.query,
    ],
    schema=[Field(name=name, dtype=Float64) for name in AFFINITIES],
    mode="python",
    description="Cosines of the item with the user's behaviour, interest and query vectors",
    owner="feast-fusion",
    **on_demand(measure_affinity, dict.fromkeys(AFFINITIES, 0.0)),
)
