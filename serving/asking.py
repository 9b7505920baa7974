"""What a call to a recommender may ask for, by name. All may be left out."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from serving.request_context import Context
from serving.visit import Visited


class RankOptions(TypedDict, total=False):
    """Options of `Recommender.rank`.

    Attributes
    ----------
    query : words; they count beside the user's taste, see `Recommendations.understood`
    explain : whether each item says why, in a shopper's words
    debug : whether it also says what each signal adds, and facts
    context : what is around the request, of the form that `ContextColumns.check` gives
    session : what the user did on this visit, the newest last: it counts as events do, for this
        answer alone
    """

    query: str | None
    explain: bool
    debug: bool
    context: Context
    session: Sequence[Visited]


class RecommendOptions(RankOptions, total=False):
    """Options of `Recommender.recommend`.

    Attributes
    ----------
    filter : an expression on the columns of items, see `serving.filters.predicate`
    objective : weights in place of `satisfaction` and `value` of the data set
    variety : keys of `intake.variety_settings.Variety`, in place of the data set's
    request_id : by it what an answer explores can be drawn again
    """

    filter: str | None
    objective: Mapping[str, float]
    variety: Mapping[str, Any]
    request_id: str | None


class PastOptions(TypedDict, total=False):
    """Options of an answer of the past beside its query and context, see `RecommendOptions`."""

    filter: str | None
    explain: bool
    debug: bool
    variety: Mapping[str, Any]
