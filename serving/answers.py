"""What a recommender answers: items in order, why, and what an application should know of it."""

from dataclasses import dataclass
from typing import Literal

# known: has acted; profile_only: has a profile and no history; unknown: has neither.
UserKind = Literal["known", "profile_only", "unknown"]
# full: somebody has acted on it; text_only: described, nobody has; none: no feature at all.
ItemKind = Literal["full", "text_only", "none"]
# none; for a shopper; with what each signal adds, and facts.
Detail = Literal["none", "shopper", "debug"]
ReasonKind = Literal["source", "liked", "category", "signal", "fact"]
Sense = Literal["wanted", "refused"]
Recognition = Literal["name", "meaning"]
ColumnValue = str | float | list[str]

STORE_UNAVAILABLE = "online store unavailable"
STORE_EMPTY = "online store empty"
STORE_INCOMPLETE = "online store incomplete"  # of the user it lost rows, or has older ones
QUERY_NOT_ENCODED = "query not encoded"
OVERLOADED = "service overloaded"
MODEL_FROM_LATER = "model fitted to later events"


def detail_of(*, explain: bool, debug: bool) -> Detail:
    """How much an answer says of its reasons."""
    return "debug" if debug else "shopper" if explain else "none"


@dataclass(frozen=True)
class Reason:
    """One reason for an item's place, in words that can be shown.

    Attributes
    ----------
    kind : what it speaks of
    text : in English
    value : liked: the cosine of the two items; signal: what it adds to the logit of being chosen;
        fact: the number; else None. Signals and facts are said under debug alone
    item_id : liked: the item that the user liked or, where nobody rates, chose
    """

    kind: ReasonKind
    text: str
    value: float | None = None
    item_id: str | None = None


@dataclass(slots=True)  # frozen ones take five times as long to make, and an answer has hundreds
class RankedItem:
    """One item of an answer.

    Attributes
    ----------
    title : None where the catalogue has none
    score : between 0 and 1, higher is better. Where the answer `is_chance`: the chance that the
        user chooses it next, if one of the items that were ranked
    liked : the ranker's probability that the user likes it once chosen; None without the online
        store, and where every event of the data set is positive, so that nobody says it
    sources : what brought it among the candidates; empty where the caller named the items
    features : what there is to rank it by
    cold : whether nobody has acted on it yet
    reasons : filled when asked to explain
    columns : by name what the data set says of it, without nulls; filled when asked to explain
    outcomes : by event_type with an objective, the ranker's probability of such an event
    propensity : the chance with which this place got this item; None where nothing is explored
    """

    item_id: str
    title: str | None
    score: float
    liked: float | None = None
    sources: tuple[str, ...] = ()
    features: ItemKind = "full"
    cold: bool = False
    reasons: tuple[Reason, ...] = ()
    columns: dict[str, ColumnValue] | None = None
    outcomes: dict[str, float] | None = None
    propensity: float | None = None


@dataclass(frozen=True)
class Understood:
    """A value of a column that a query asks for.

    Attributes
    ----------
    value : as items have it; of years as a span, such as "1990 to 1999"
    sense : refused is what stands behind "not", "without" and the like
    by : whether the words are its name, or part of it, or mean it, as "cartoons" means "Animation"
    """

    column: str
    value: str
    sense: Sense
    by: Recognition


@dataclass(frozen=True)
class Recommendations:
    """An answer, best item first.

    Attributes
    ----------
    n_candidates : items that were ranked
    user : what was known of the user
    degraded : whether the answer lacks something that was asked for or is normally there
    reasons : what it lacks: `STORE_UNAVAILABLE`, `STORE_EMPTY`, `STORE_INCOMPLETE`,
        `QUERY_NOT_ENCODED`, `OVERLOADED`; of the past also `MODEL_FROM_LATER`
    portrait : what a language model wrote of the user, where there is one; filled when asked to
        explain
    model : the version that answered
    understood : what a query was taken to ask for, where it names or means values of columns
    is_chance : whether scores are chances, as `RankedItem.score` has them and `feast-fusion
        evaluate` measures them. Else they order the items and say no more: a query or weights of
        the call moved them, or popularity stands in for the ranker
    """

    user_id: str
    items: list[RankedItem]
    n_candidates: int
    user: UserKind
    degraded: bool
    reasons: tuple[str, ...]
    latency_ms: float
    portrait: str | None = None
    model: str | None = None
    understood: tuple[Understood, ...] = ()
    is_chance: bool = False


@dataclass(frozen=True)
class SimilarItem:
    """An item near to another or to a text, with the cosine of their vectors."""

    item_id: str
    title: str | None
    cosine: float
