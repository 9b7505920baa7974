"""The names of the views, of the prepared sources and of the service, said once.

A view of vectors holds one feature, which has the view's own name.
"""

from feast_fusion.column_names import vector_view

ITEM_PROFILE = "item_profile"
ITEM_STATS = "item_stats"
ITEM_EMBEDDING = "item_embedding"
ITEM_ATTRIBUTES = "item_attributes"
USER_PROFILE = "user_profile"
USER_STATS = "user_stats"
USER_RECENT = "user_recent"
USER_EMBEDDING = "user_embedding"
USER_INTEREST = "user_interest"
USER_PORTRAIT = "user_portrait"
PORTRAIT_EMBEDDING = "portrait_embedding"

# What the user's transformations read; never online.
USER_SNAPSHOT = "user_snapshot"
USER_EVENT = "user_event"

# What other people chose, by version; read whole, so never online.
ITEM_NEIGHBOURS = "item_neighbours"
ITEM_FACTORS = "item_factors"

# Prepared sources; item_stats, user_stats, user_recent, item_neighbours and item_factors
# have the names of their views.
ITEMS = "items"
USERS = "users"
INTERACTIONS = "interactions"
EXAMPLES = "examples"  # events that are no history, where the data set has a type of such
USER_EVENTS = "user_events"
USER_SNAPSHOTS = "user_snapshots"

# Computed when they are asked for.
COLLABORATIVE = "collaborative"
QUERY_EMBEDDING = "query_embedding"
USER_ITEM_AFFINITY = "user_item_affinity"

# What a live event changes online at once; the other views wait for feast materialize.
LIVE_VIEWS = (ITEM_STATS, USER_STATS, USER_RECENT, USER_INTEREST)

# Their rows are caused by events: a row that is absent says that nothing has happened yet.
CAUSED_BY_EVENTS = (
    *LIVE_VIEWS,
    USER_EMBEDDING,
    USER_PORTRAIT,
    PORTRAIT_EMBEDDING,
    ITEM_NEIGHBOURS,
    ITEM_FACTORS,
)

SERVICE = "fusion_ranker_v1"
NEXT_ITEM_SERVICE = "next_item_v1"
PORTRAIT_SERVICE = "portrait_v1"

# Of the Feast project: what dataset.toml said when the declarations were applied, as JSON.
DESCRIPTION_TAG = "dataset_toml"

# The one order of events: whatever splits or folds a log goes through it in this order.
EVENT_ORDER = ("event_timestamp", "user_id", "item_id")


def ranker_service(encoder_id: str | None) -> str:
    """The service of the versions that are trained on vectors of an encoder; None: on none.

    `SERVICE` reads the same as that of the main encoder, whichever this is.
    """
    return SERVICE if encoder_id is None else vector_view(SERVICE, encoder_id)
