"""Why an item has its place, in words that a shopper understands."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import scipy.sparse as sp

from feast_fusion.column_names import feature_column
from feast_fusion.training_set import TrainingSet
from serving.answers import Reason
from serving.candidates import Candidates
from serving.catalogue import Catalogue
from serving.vector_index import Rows
from training.ranker.columns import Numbers
from transformations import names
from transformations.collaborative.histories import Histories

SHOWN = 3  # reasons of an item that a shopper sees
# Categories of a column that are a user's own: the most frequent of what was liked, each at least
# so often, and clearly more than everybody chooses it: by this factor, and by so many standard
# deviations of as many choices of everybody's.
_FAVOURITES, _OFTEN = 2, 3
_LIFT, _LIFT_DEVIATIONS = 1.5, 2.0
# A liked item is named only where it is this much nearer than the average item of the catalogue: of
# fifty liked items, one is always a little nearer than the others.
LIKED_DEVIATIONS = 1.5

# By source; those first that say most.
WORDS = {
    "query": "near to your request",
    "own_fading": "you chose it often, and lately",
    "own_count": "you chose it often",
    "own_week": "you chose it this week",
    "own_month": "you chose it this month",
    "own_newest": "you chose it the last time",
    "own_recent": "how long ago you chose it",
    "own_due": "it is time for it again",
    "own_any": "you chose it before",
    "visit": "often chosen next on the same visit",
    "fresh": "new",
    "popular_short": "popular right now",
    "together": "chosen by those who chose what you chose",
    "sequence": "fits what you chose lately, in that order",
    "liked_rate": "liked by most who chose it",
    "following": "often chosen next",
    "text": "described like what you chose",
    "popular_long": "popular of late",
    "popular": "popular",
    "disliked": "chosen by those who disliked what you disliked",
}


Verb = Literal["liked", "chose"]

# The same by what users did with what is positive: events of several types are no ratings.
WORDS_OF: Mapping[Verb, Mapping[str, str]] = {
    "liked": WORDS,
    "chose": {
        **WORDS,
        "liked_rate": "chosen by most who met it",
        "disliked": "chosen by those who passed by what you passed by",
    },
}


def verb_of(catalogue: Catalogue) -> Verb:
    """What a user did with what is positive: where nobody rates, it was chosen."""
    return "liked" if catalogue.interactions.is_rated else "chose"


def shopper_reasons(
    catalogue: Catalogue, liked: Sequence[str], candidates: Candidates, at: Rows
) -> list[list[Reason]]:
    """By candidate its reasons, those first that say most: a liked item, categories, sources.

    Parameters
    ----------
    liked : items that the user liked or chose, see `liked_items`
    at : (k,) places among the candidates
    """
    item_ids = [candidates.item_ids[place] for place in at.tolist()]
    near = nearest_liked(catalogue, liked, item_ids)
    own = _favourite_categories(catalogue, candidates.history, candidates.rows[at])
    newest = _newest_title(catalogue, candidates.history)
    sources = (candidates.sources(catalogue, place) for place in at.tolist())
    verb = verb_of(catalogue)
    return [
        [*near[number], *own[number], *source_reasons(named, verb, newest)]
        for number, named in enumerate(sources)
    ]


def liked_items(rows: TrainingSet) -> list[str]:
    """The positive ones of the recent items of these rows' one user, newest first, each once."""
    recent = [feature_column(names.USER_RECENT, name) for name in ("item_ids", "positives")]
    ids, positives = (rows.lists.get(name) for name in recent)
    if ids is None or positives is None or not len(rows) or ids.index[0] < 0:
        return []
    newest = ids.values[int(ids.index[0])].as_py()
    answers = positives.values[int(positives.index[0])].as_py()
    return list(dict.fromkeys(item for item, yes in zip(newest, answers, strict=True) if yes))


def source_reasons(sources: Sequence[str], verb: Verb, newest: str | None = None) -> list[Reason]:
    """One reason per source, those first that say most to a shopper.

    Parameters
    ----------
    newest : title of the item that the user chose last
    """
    found = sorted(sources, key=[*WORDS].index)
    return [
        Reason("source", f"often chosen next after {newest}")
        if name == "visit" and newest
        else Reason("source", WORDS_OF[verb][name])
        for name in found
    ]


def nearest_liked(
    catalogue: Catalogue, liked: Sequence[str], item_ids: Sequence[str]
) -> list[list[Reason]]:
    """Per item the liked item that is nearest by text; nothing where none is near or known.

    An item is never its own reason.
    """
    known = [item_id for item_id in liked if catalogue.vector(item_id) is not None]
    index = catalogue.index
    rows = catalogue.rows_of(known)
    found: list[list[Reason]] = []
    for item_id in item_ids:
        vector = catalogue.vector(item_id)
        if vector is None or not known:
            found.append([])
            continue
        cosines = index.vectors[rows] @ vector  # (liked,)
        cosines[[other == item_id for other in known]] = -np.inf
        best = int(cosines.argmax())
        deviations = index.moments.standardise(index.vectors[rows[best]], cosines[best : best + 1])
        is_near = np.isfinite(cosines[best]) and deviations[0] >= LIKED_DEVIATIONS
        found.append(
            [_because(catalogue, known[best], item_id, float(cosines[best]))] if is_near else []
        )
    return found


def _because(catalogue: Catalogue, item_id: str, to: str, cosine: float) -> Reason:
    """The reason why `to` is near to an item that the user liked or chose."""
    name, verb = catalogue.title(item_id) or item_id, verb_of(catalogue)
    if name == (catalogue.title(to) or to):
        return Reason("liked", f"because you {verb} another one of this title", cosine, item_id)
    return Reason("liked", f"because you {verb} {name}", cosine, item_id)


def _newest_title(catalogue: Catalogue, history: Histories | None) -> str | None:
    if history is None or not len(history.item):
        return None
    return catalogue.titles[int(history.item[-1])]


def _favourite_categories(
    catalogue: Catalogue, history: Histories | None, rows: Rows
) -> list[list[Reason]]:
    """By row the categories that the user likes most, and clearly more than others do."""
    found: list[list[Reason]] = [[] for _ in rows]
    if history is None:
        return found
    for column in catalogue.columns.categorical:
        if catalogue.columns.frame[column].dtype.is_numeric():
            continue  # numbers of categories say nothing to a shopper
        categories = catalogue.columns.categories(column)
        liked = categories.of_rows(history.item[history.positive])
        most = favourites(liked, catalogue.chosen_shares(column))
        has = categories.of_rows(rows)[:, most].toarray() > 0
        for reasons, own in zip(found, has, strict=True):
            if own.any():
                shared = ", ".join(categories.names[each] for each in most[own].tolist())
                reasons.append(Reason("category", f"{column} you choose most: {shared}"))
    return found


def favourites(liked: sp.csr_matrix, everybody: Numbers) -> Rows:
    """The categories of a user's own, the most frequent first.

    Parameters
    ----------
    liked : (k, c) 1 where an item that the user liked has a category
    everybody : (c,) share of everybody's events with items of each category

    >>> liked = sp.csr_matrix([[1, 1, 0], [1, 1, 0], [1, 1, 0], [1, 0, 1]])
    >>> favourites(liked, np.array([0.7, 0.1, 0.3])).tolist()  # most choose the first one
    [1]
    """
    n, counts = liked.shape[0], np.asarray(liked.sum(axis=0)).ravel()
    expected, spread = n * everybody, np.sqrt(n * everybody * (1 - everybody))
    is_own = (counts >= _OFTEN) & (counts >= _LIFT * expected)
    is_own &= counts - expected >= _LIFT_DEVIATIONS * spread
    own = np.flatnonzero(is_own)
    most: Rows = own[np.argsort(-counts[own], kind="stable")][:_FAVOURITES]
    return most
