"""Features computed when they are asked for."""

from feast import Field, OnDemandFeatureView
from feast.types import Array, Float32, Float64

from feature_repo import sources
from feature_repo.feature_views import item_embedding, user_embedding, user_interest
from feature_repo.transformation_source import transformation
from transformations import names
from transformations.on_demand import declare_only, embed_query, measure_affinity

# Feast calls every on-demand function with dummy text while it applies. This module is imported by
# `feast apply` and `feast plan` only (serving reads the registry), so here the dummies get a
# constant of the right type and no weights are loaded.
declare_only()

query_embedding = OnDemandFeatureView(
    name=names.QUERY_EMBEDDING,
    sources=[sources.query],
    schema=[Field(name=names.QUERY_EMBEDDING, dtype=Array(Float32))],
    mode="python",
    description="Embedding of the request's text by the encoder of the item vectors",
    owner="feast-fusion",
    **transformation(embed_query),
)
user_item_affinity = OnDemandFeatureView(
    name=names.USER_ITEM_AFFINITY,
    sources=[
        item_embedding[[names.ITEM_EMBEDDING]],
        user_embedding[[names.USER_EMBEDDING]],
        user_interest[[names.USER_INTEREST]],
        sources.query,
    ],
    schema=[
        Field(name="behaviour_cosine", dtype=Float64),
        Field(name="interest_cosine", dtype=Float64),
        Field(name="query_cosine", dtype=Float64),
    ],
    mode="python",
    description="Cosines of the item with the user's behaviour, interest and query vectors",
    owner="feast-fusion",
    **transformation(measure_affinity),
)
