"""Pooling and encoding the slow way: one text at a time, no padding, one token after the other."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

Vector = NDArray[np.float64]


def pool_by_hand(states: NDArray[np.float64], pooling: str) -> Vector:
    """The (d,) vector of the states (L, d) of a text's real tokens."""
    if pooling == "cls":
        return states[0]
    if pooling == "last":
        return states[-1]
    if pooling == "max":
        return np.array([max(column) for column in states.T])
    total, weights = np.zeros(states.shape[1]), 0.0
    for position, state in enumerate(states, start=1):
        weight = position if pooling == "weighted_mean" else 1
        total, weights = total + weight * state, weights + weight
    return total / (weights**0.5 if pooling == "mean_sqrt_len" else weights)


def encode_one_by_one(
    folder: Path, texts: Sequence[str], *, pooling: str, max_tokens: int = 256
) -> NDArray[np.float64]:
    """(n, d) normalised vectors; an empty list of tokens becomes the end-of-text token."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    vectors = []
    for text in texts:
        ids = tokenizer(text, truncation=True, max_length=max_tokens)["input_ids"]
        ids = ids or [tokenizer.eos_token_id]
        with torch.no_grad():
            states = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        vector = pool_by_hand(states.double().numpy(), pooling)
        vectors.append(vector / np.linalg.norm(vector))
    return np.stack(vectors)


def mean_over_padding(hidden: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """A planted bug: the mean counts padding as tokens."""
    return hidden.mean(dim=1)
