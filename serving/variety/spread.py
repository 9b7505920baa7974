"""The first items of an answer: in the order of the ranker, or spread as `[variety]` says."""

from typing import Protocol

import numpy as np

from feast_fusion.errors import SchemaError
from intake.variety_settings import Variety
from serving.catalogue import Catalogue
from serving.filters.item_columns import ItemColumns
from serving.variety.caps import Caps
from serving.variety.kept_proportions import KeptProportions, proportions_of
from serving.variety.unlike_texts import Gains, UnlikeTexts
from serving.vector_index import Rows, Vectors
from transformations.collaborative.histories import Histories


class _Aim(Protocol):
    """What an answer is for beside its scores."""

    def gains(self) -> Gains:
        """(m,) what each item would add to the answer as it is."""

    def take(self, at: int) -> None:
        """One more item of the answer."""


class VarietyError(SchemaError):
    """A column that has no categories.

    Parameters
    ----------
    field : of `Variety`, which names it
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def require_columns(columns: ItemColumns, variety: Variety) -> None:
    """Refuses bounds and proportions of what is no categorical column of items.

    Raises
    ------
    VarietyError
        A column is not one of the catalogue's.
    """
    for field, named in (("max_per", variety.max_per), ("calibrated", variety.calibrated)):
        for name in named:
            if name not in columns.categorical:
                raise VarietyError(
                    field,
                    f"got column {name[:40]!r}, expected one of "
                    f"{', '.join(columns.categorical) or 'no columns at all'}. They are the "
                    "categorical and written columns of items.",
                )


def spread(
    catalogue: Catalogue,
    rows: Rows,
    scores: Vectors,
    history: Histories | None,
    variety: Variety,
    n: int,
) -> Rows:
    """(at most n,) places among m ordered items, as an answer has them.

    Each next item is the one that adds most to the sum of log scores, of what its text has that the
    texts before have not, and of kept proportions, weighted by `variety`. Fewer than n come back
    where bounds leave no more.

    Parameters
    ----------
    rows, scores : (m,) catalogue rows, the best first, and their scores above 0
    history : of the user, None where it is not known
    """
    if not variety.is_spread:
        return np.arange(min(n, len(rows)))
    caps, aims = Caps(catalogue, variety.max_per, rows), _aims(catalogue, rows, history, variety)
    own = np.prod([1 - weight for weight, _ in aims])
    relevance = own * np.log(np.maximum(scores.astype(np.float64), 1e-30))
    left, found = np.ones(len(rows), dtype=bool), list[int]()
    while len(found) < n:
        left &= caps.allowed()
        if not left.any():
            break
        value = relevance + sum(weight * aim.gains() for weight, aim in aims)
        at = int(np.where(left, value, -np.inf).argmax())
        found.append(at)
        left[at] = False
        caps.take(at)
        for _, aim in aims:
            aim.take(at)
    return np.array(found, dtype=np.int64)


def _aims(
    catalogue: Catalogue, rows: Rows, history: Histories | None, variety: Variety
) -> list[tuple[float, _Aim]]:
    found: list[tuple[float, _Aim]] = []
    if variety.diversity:
        known = rows >= 0
        vectors = np.where(known[:, None], catalogue.index.vectors[np.maximum(rows, 0)], 0)
        found.append((variety.diversity, UnlikeTexts(vectors.astype(np.float32, copy=False))))
    for name, weight in variety.calibrated.items():
        categories = catalogue.columns.categories(name)
        liked = np.zeros(0, np.int64) if history is None else history.item[history.positive]
        wanted = proportions_of(categories.of_rows(liked))
        if weight and wanted is not None:
            found.append((weight, KeptProportions(wanted, categories.of_rows(rows))))
    return found
