"""What other people's labels say of an item: its bias, and factors by which items resemble.

Two kinds of resemblance, each an inner product of low-rank factors:

- residual: who likes one item more than expected likes the other
- co-occurrence: who touches one item touches the other

Factors are fitted once, not by gradient: embeddings trained end to end memorise their own labels.

The label of a row is part of what the factors are fitted on. So a row that the ranker learns from
looks up the factors of a *fold* that leaves the row's user out, as if the user were new. Every
other row looks up the factors of all users.
"""

from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix
from sklearn.utils.extmath import randomized_svd

from transformations.id_map import IdMap

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

N_FOLDS = 5
KINDS = 2  # residual, co-occurrence
# Events that zero is worth in a bias: the bias of a rare item or user is near to zero.
BIAS_PRIOR = 5.0
CO_OCCURRENCE_PRIOR = 10.0


@dataclass(frozen=True)
class ItemFactors:
    """Fitted tables of f folds and v items; row 0 is the unknown item, all zeros.

    Attributes
    ----------
    bias : (f, v) float32, how much more often than the mean an item is liked
    factors : (f, v, KINDS, rank) float32; the inner products of two items that one user touched
        have a standard deviation of one
    """

    bias: Floats
    factors: Floats

    @property
    def last_fold(self) -> "ItemFactors":
        """The tables of all users alone: serving needs no other fold."""
        return ItemFactors(self.bias[-1:], self.factors[-1:])


def fold_of(users: IdMap) -> Ints:
    """(u,) the fold that leaves each user out, by a hash that is the same on every machine."""
    folds = (crc32(user.encode()) % N_FOLDS for user in users.ids.to_pylist())
    return np.fromiter(folds, dtype=np.int64, count=len(users))


def fit_item_factors(
    users: Ints,
    items: Ints,
    labels: Floats,
    folds: Ints,
    *,
    n_items: int,
    explicit: bool,
    rank: int,
    seed: int,
) -> ItemFactors:
    """Tables for each fold's complement, and last for all users.

    Parameters
    ----------
    users, items, labels, folds : (n,) codes of users, rows of items in tables (from 1), labels 0 or
        1, folds of the users
    n_items : known items, without the unknown item
    explicit : False where label 0 is a sampled item, which nobody touched
    """
    fitted = []
    for fold in range(N_FOLDS + 1):
        rows = np.flatnonzero(folds != fold)  # fold N_FOLDS leaves nobody out
        fitted.append(
            _fit(users[rows], items[rows], labels[rows], n_items + 1, explicit, rank, seed)
        )
    return ItemFactors(
        np.stack([bias for bias, _ in fitted]),
        np.stack([factors for _, factors in fitted]),
    )


def _fit(
    users: Ints, items: Ints, labels: Floats, width: int, explicit: bool, rank: int, seed: int
) -> tuple[Floats, Floats]:
    """(v,) bias and (v, KINDS, rank) factors of one set of examples."""
    if len(users) == 0:
        return np.zeros(width, np.float32), np.zeros((width, KINDS, rank), np.float32)
    centred = labels - labels.mean()
    bias = _shrunk_mean(centred, items, width)
    residual = centred - bias[items]
    residual -= _shrunk_mean(residual, users, int(users.max()) + 1)[users]
    touched = np.full(len(labels), explicit) | (labels > 0)
    matrices = (
        _matrix(users, items, residual, width),
        _co_occurrence(users[touched], items[touched], width),
    )
    factors = [
        _scaled(_factors(matrix, rank, seed, shrink=kind == 0), users, items, seed)
        for kind, matrix in enumerate(matrices)
    ]
    return bias.astype(np.float32), np.stack(factors, axis=1).astype(np.float32)


def _shrunk_mean(values: NDArray[np.floating], at: Ints, n: int) -> NDArray[np.float64]:
    sums = np.bincount(at, values, minlength=n)
    return sums / (np.bincount(at, minlength=n) + BIAS_PRIOR)


def _matrix(users: Ints, items: Ints, values: NDArray[np.floating], width: int) -> csr_matrix:
    """(users, v) mean of the values of each pair, so that repeats do not add up."""
    shape = (int(users.max(initial=0)) + 1, width)
    sums = coo_matrix((values.astype(np.float64), (users, items)), shape).tocsr()
    counts = coo_matrix((np.ones(len(users)), (users, items)), shape).tocsr()
    sums.data /= counts.data
    return sums


def _co_occurrence(users: Ints, items: Ints, width: int) -> csr_matrix:
    touched = _matrix(users, items, np.ones(len(users)), width)
    n_users = np.asarray(touched.sum(axis=0)).ravel()
    touched.data /= np.sqrt(n_users + CO_OCCURRENCE_PRIOR)[touched.indices]
    return touched


def _factors(matrix: csr_matrix, rank: int, seed: int, *, shrink: bool) -> NDArray[np.float64]:
    """(v, rank) whose inner products approximate matrix.T @ matrix, noisy directions damped."""
    _, strength, directions = randomized_svd(
        matrix, n_components=min(rank, *matrix.shape), random_state=seed
    )
    scale = strength
    if shrink:
        noise = strength[-1] ** 2
        scale = np.sqrt(strength**2 / (strength**2 + noise + np.finfo(np.float64).tiny))
    factors = np.zeros((matrix.shape[1], rank))
    factors[:, : len(strength)] = directions.T * scale
    factors[0] = 0.0
    return factors


def _scaled(
    factors: NDArray[np.float64], users: Ints, items: Ints, seed: int, n_pairs: int = 50_000
) -> NDArray[np.float64]:
    """The factors such that inner products of two items of one user deviate by about one."""
    order = np.argsort(users, kind="stable")
    first = np.random.default_rng(seed).integers(0, max(1, len(order) - 1), n_pairs)
    one, other = order[first], order[np.minimum(first + 1, len(order) - 1)]
    pairs = (users[one] == users[other]) & (items[one] != items[other])
    left, right = factors[items[one[pairs]]], factors[items[other[pairs]]]
    spread = (left * right).sum(axis=1).std() if pairs.any() else 0.0
    return factors / np.sqrt(spread) if spread > 0 else factors
