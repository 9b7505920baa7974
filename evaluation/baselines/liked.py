"""What users liked, as sparse matrices: what the baselines are fitted to and what they read."""

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from evaluation.protocol import Queries
from transformations.collaborative.histories import Events

# Breaks ties only: of items with the same score the more popular one comes first.
_TIE = 1e-6


def liked_by_users(events: Events, n_rows: int) -> sp.csr_matrix:
    """(u, i) float32: how many positive events of the first `n_rows` a user had with an item."""
    rows = np.flatnonzero(events.positive[:n_rows])
    at = (events.user[rows], events.item[rows])
    shape = (len(events.users), len(events.items))
    return sp.csr_matrix((np.ones(len(rows), np.float32), at), shape=shape)


def liked_before(queries: Queries) -> sp.csr_matrix:
    """(q, i) float32: how many positive events with an item were strictly before the instant."""
    histories = queries.histories()
    return histories.sums(histories.positive.astype(np.float32), len(queries.events.items))


def tie_breaks(events: Events, n_rows: int) -> NDArray[np.float64]:
    """(i,) very small numbers in the order of popularity in the first `n_rows` events."""
    liked = events.item[:n_rows][events.positive[:n_rows]]
    return _TIE * np.bincount(liked, minlength=len(events.items)) / max(len(liked), 1)
