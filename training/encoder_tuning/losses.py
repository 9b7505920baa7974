"""How wrong the vectors of a slate are, in nats."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize


def choice_loss(
    queries: Tensor,
    items: Tensor,
    answer: Tensor,
    is_hidden: Tensor,
    *,
    temperature: float,
    log_share: Tensor | None = None,
) -> Tensor:
    """Mean negative log-likelihood of what was chosen, by a softmax over cosines.

    Parameters
    ----------
    queries : (q, d) L2-normalised
    items : (s, d) L2-normalised
    answer : (q,) the chosen item
    is_hidden : (q, s) items that do not count as wrong
    log_share : (s,) of an item in the drawing of slates, taken off, so that an item is not pushed
        away for being drawn often; None: slates do not depend on the choices
    """
    logits = queries @ items.T / temperature  # (q, s)
    if log_share is not None:
        logits = logits - log_share
    return cross_entropy(logits.masked_fill(is_hidden, -torch.inf), answer)


def nested_loss(vectors: Tensor, widths: Sequence[int], loss: Callable[[Tensor], Tensor]) -> Tensor:
    """The mean of a loss over all of the vectors and their leading numbers, normalised again.

    vectors : (n, d)
    """
    every = sorted({*widths, vectors.shape[1]})
    return torch.stack([loss(normalize(vectors[:, :width], dim=1)) for width in every]).mean()
