"""Why an item has its place: its sources, a liked item like it, what each modality adds, facts.

The contribution of a modality is an ablation: the logit with all modalities minus the logit where
the ranker sees the modality as absent. It is exact for the ranker as it is; contributions do not
add up to the logit, since modalities speak about each other.
"""

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from feast_fusion.column_names import feature_column
from feast_fusion.training_set import TrainingSet
from serving.answers import Reason
from serving.catalogue import Catalogue
from serving.score_adjustment import liked_items
from training.ranker.artifact import Artifact
from training.ranker.model import Ranker
from transformations import names

# A liked item is named only where it is this much nearer than the average item of the catalogue: of
# fifty liked items, one is always a little nearer than the others.
LIKED_DEVIATIONS = 1.5

_SOURCES = {
    "interest": "near to what you have liked lately",
    "behaviour": "near to what you have liked so far",
    "query": "near to your request",
    "popular": "popular",
    "fresh": "new",
}
_ADJUSTMENTS = {
    "query": "your request",
    "interest": "its likeness to what you like",
    "company": "the choices of those who liked the same",
}


class Ablations:
    """The ranker of an artifact, and a copy of it for each modality that it then does not see."""

    def __init__(self, artifact: Artifact) -> None:
        self._features = artifact.features
        self._ranker = artifact.ranker
        self._without = {
            name: _without(artifact.ranker, at) for at, name in enumerate(artifact.ranker.towers)
        }

    def contributions(self, rows: TrainingSet) -> dict[str, NDArray[np.float32]]:
        """By modality (n,) what it adds to each row's logit."""
        inputs = self._features.transform(rows)
        batch = inputs.batch(torch.arange(len(inputs)))
        with torch.inference_mode():
            whole = self._ranker(batch)
            return {name: (whole - ranker(batch)).numpy() for name, ranker in self._without.items()}


class _Absent(nn.Module):
    """A fusion to which one modality is absent."""

    def __init__(self, fusion: nn.Module, at: int) -> None:
        super().__init__()
        self.fusion = fusion
        self.at = at

    def forward(self, encoded: Tensor, mask: Tensor) -> Tensor:
        """(B, d) from (B, M, d) and (B, M)."""
        mask = mask.clone()
        mask[:, self.at] = False
        fused: Tensor = self.fusion(encoded * mask[..., None], mask)
        return fused


def _without(ranker: Ranker, at: int) -> Ranker:
    ablated = copy.deepcopy(ranker)
    ablated.fusion = _Absent(ablated.fusion, at)
    return ablated.eval()


def explain_items(
    catalogue: Catalogue,
    rows: TrainingSet,
    sources: Sequence[tuple[str, ...]],
    contributions: Mapping[str, NDArray[np.float32]],
    additions: Mapping[str, NDArray[np.float32]],
) -> list[tuple[Reason, ...]]:
    """The reasons for each of n rows of one user.

    Parameters
    ----------
    sources : n tuples
    contributions : by modality (n,)
    additions : by name (n,) what is added to the logits (see `ScoreAdjustment.measure`)
    """
    item_ids = rows.table["item_id"].to_pylist()
    liked = nearest_liked(catalogue, liked_items(rows), item_ids)
    facts = _facts(rows)
    explained = []
    for at, named_by in enumerate(sources):
        reasons = source_reasons(named_by)
        reasons += liked[at]
        reasons += [
            Reason("likeness", _moves(_ADJUSTMENTS[name], added[at]), float(added[at]))
            for name, added in additions.items()
        ]
        by_strength = sorted(contributions.items(), key=lambda each: -abs(float(each[1][at])))
        reasons += [
            Reason("modality", _moves(f"its {modality} features", values[at]), float(values[at]))
            for modality, values in by_strength
        ]
        explained.append((*reasons, *facts[at]))
    return explained


def source_reasons(sources: Sequence[str]) -> list[Reason]:
    """One reason per source."""
    return [Reason("source", _SOURCES[name]) for name in sources]


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
        found.append([_because(catalogue, known[best], float(cosines[best]))] if is_near else [])
    return found


def _because(catalogue: Catalogue, item_id: str, cosine: float) -> Reason:
    name = catalogue.title(item_id) or item_id
    return Reason("liked", f"because you liked {name}", cosine, item_id)


def _moves(what: str, value: np.float32) -> str:
    return f"{'raised' if value >= 0 else 'lowered'} by {what}"


def _facts(rows: TrainingSet) -> list[tuple[Reason, ...]]:
    """How often others acted on each item, and how often they liked it."""
    counts = [feature_column(names.ITEM_STATS, name) for name in ("n_events", "n_positive")]
    if any(name not in rows.table.column_names for name in counts):
        return [()] * len(rows)
    columns = (rows.table[name].to_pylist() for name in counts)
    return [_fact(n_events, n_positive) for n_events, n_positive in zip(*columns, strict=True)]


def _fact(n_events: int | None, n_positive: int | None) -> tuple[Reason, ...]:
    if not n_events:
        return (Reason("fact", "nobody has acted on it yet", 0.0),)
    if n_positive is None or n_positive == n_events:
        return (Reason("fact", f"chosen {n_events:,} times", float(n_events)),)
    share = n_positive / n_events
    return (Reason("fact", f"liked in {share:.0%} of {n_events:,} events", share),)
