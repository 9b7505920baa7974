"""How well text alone finds what is liked next: cosines, no other model.

Items rank as by `evaluation.cold_items.cosine_to_liked`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from evaluation.cold_items import cosine_to_liked, hold_out, ranks_of, text_cosine
from evaluation.measures import gains
from evaluation.protocol import Part, next_positives, rank_by_scores
from feast_fusion.parquet.whole import read_parquet
from intake.workspace import Workspace
from transformations.collaborative.histories import Events, Floats, Ints
from transformations.collaborative.prepared_log import read_prepared_events
from transformations.declared_encoders import identify
from transformations.embedder import Embedder
from transformations.item_versions import build_item_versions
from transformations.names import ITEMS

ALL_ITEMS, HELD_OUT = "all items", "held-out items"


@dataclass(frozen=True)
class TextRetrieval:
    """Means over queries; NaN without a query."""

    n_queries: int
    recall_10: float
    recall_50: float
    ndcg_10: float

    @classmethod
    def of(cls, ranks: Ints) -> "TextRetrieval":
        """Of (q,) places from 1; 0 is not ranked."""
        if not len(ranks):
            return cls(0, float("nan"), float("nan"), float("nan"))
        is_ranked = ranks > 0
        return cls(
            len(ranks),
            float((is_ranked & (ranks <= 10)).mean()),
            float((is_ranked & (ranks <= 50)).mean()),
            float(gains(ranks)["ndcg@10"].mean()),
        )


def measure_text(
    workspace: Workspace, part: Part, held_out_by: int | None = None
) -> Mapping[str, TextRetrieval]:
    """Of 2,000 next liked items new to their users, among all items known then.

    held_out_by : seed of `hold_out`; then also of the choices of held-out items, among them
    """
    how = workspace.dataset.split
    events = read_prepared_events(workspace)
    vectors = item_vectors(workspace, events)
    ranked = rank_by_scores(
        next_positives(events, part, how=how),
        lambda queries: cosine_to_liked(queries.histories(), vectors),
    )
    found = {ALL_ITEMS: TextRetrieval.of(ranked.rank)}
    if held_out_by is not None:
        queries = hold_out(events, held_out_by, part, how)
        ranks = ranks_of(queries, text_cosine(queries, vectors))
        found[HELD_OUT] = TextRetrieval.of(ranks)
    return found


def item_vectors(workspace: Workspace, events: Events) -> Floats:
    """(i, d) of the newest text of each item of `events`, zeros where it is empty."""
    versions = build_item_versions(read_parquet(workspace.source(ITEMS)))
    codes = versions.ids.codes(events.items.ids)
    newest = versions.as_of(codes, np.full(len(codes), np.iinfo(np.int64).max))
    encoder_id = identify(workspace.dataset).encoder_id
    embedded, is_known = Embedder(workspace, encoder_id).items(versions.table.take(newest))
    vectors: Floats = np.where(is_known[:, None], embedded, np.float32(0))
    return vectors


def with_encoder(workspace: Workspace, folder: Path) -> Workspace:
    """The workspace as it is with another model in `[encoder]`."""
    dataset = workspace.dataset
    encoder = dataset.encoder.model_copy(update={"model": str(folder)})
    return replace(workspace, dataset=dataset.model_copy(update={"encoder": encoder}))
