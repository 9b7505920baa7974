"""What the columns of a retrieval are called: `view__feature`, said once.

A view of vectors carries the id of its encoder in its name, `item_embedding__minilm_1f2e`.
"""

_SEPARATOR = "__"


def feature_column(view: str, feature: str) -> str:
    """The column of a feature of a view.

    >>> feature_column("user_stats", "user_n_events")
    'user_stats__user_n_events'
    """
    return f"{view}{_SEPARATOR}{feature}"


def split_column(column: str) -> tuple[str, str]:
    """View and feature of a column; the feature is empty where the column is not of a view.

    >>> split_column("user_stats__user_n_events")
    ('user_stats', 'user_n_events')
    >>> split_column("label")
    ('label', '')
    """
    view, _, feature = column.partition(_SEPARATOR)
    return view, feature


def vector_view(view: str, *model_ids: str) -> str:
    """The view of that name whose vectors are of that encoder, and of texts of that writer.

    >>> vector_view("item_embedding", "minilm_1f2e")
    'item_embedding__minilm_1f2e'
    """
    return _SEPARATOR.join((view, *model_ids))


def split_view(view: str) -> tuple[str, str | None]:
    """A view's name without its encoder, and the encoder id; None where it has none.

    >>> split_view("item_embedding__minilm_1f2e")
    ('item_embedding', 'minilm_1f2e')
    >>> split_view("user_stats")
    ('user_stats', None)
    >>> split_view("portrait_embedding__minilm_1f2e__gemma_0a1b")
    ('portrait_embedding', 'minilm_1f2e')
    """
    base, *model_ids = view.split(_SEPARATOR)
    return base, model_ids[0] if model_ids else None


def logical_name(column: str) -> str:
    """`view__feature`, or the feature's name alone where it is that of a view of vectors.

    >>> logical_name("user_stats__user_n_events")
    'user_stats__user_n_events'
    >>> logical_name("item_embedding__minilm_1f2e__item_embedding")
    'item_embedding'
    >>> logical_name("item_embedding__item_embedding")
    'item_embedding'
    """
    view, _, feature = column.rpartition(_SEPARATOR)
    return feature if split_view(view)[0] == feature else column
