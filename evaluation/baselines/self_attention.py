"""Self-attention without text: our sequence encoder as plain as SASRec, on liked items only."""

from dataclasses import replace

import numpy as np
import torch

from evaluation.baselines.liked import tie_breaks
from evaluation.protocol import Queries, Scorer, Scores
from intake.model_settings import SequenceConfig
from training.next_item.sequence_fit import SequenceFitter, score_histories
from training.next_item.sequence_model import SequenceModel
from transformations.collaborative.histories import Events, take_events

# Its own, so that a change of ours leaves the baseline as it was.
_PLAIN = SequenceConfig(
    width=64, heads=2, layers=1, length=50, dropout=0.3, forget=0.0, epochs=14, batch_size=32
)


def fit_self_attention(events: Events, n_rows: int, seed: int) -> Scorer:
    """An embedding for each item and no other knowledge of it; softmax over the catalogue."""
    kept = np.flatnonzero(events.positive)
    liked = replace(take_events(events, kept), value=np.full(len(kept), np.nan, np.float32))
    torch.manual_seed(seed)
    model = SequenceModel(_PLAIN, torch.zeros(len(events.items), 1))
    SequenceFitter(model, liked, seed).fit(int(np.searchsorted(kept, n_rows)), _PLAIN.epochs)
    ties = tie_breaks(events, n_rows)

    def score(queries: Queries) -> Scores:
        histories = liked.histories(queries.user, queries.time, _PLAIN.length)
        found: Scores = score_histories(model, histories) + ties
        return found

    return score
