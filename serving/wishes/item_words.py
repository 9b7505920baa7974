"""BM25 over the titles and texts of items."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from bm25s import BM25
from tqdm import tqdm

from serving.vector_index import Vectors
from serving.wishes.item_values import exploded
from serving.wishes.words import plain_words, stem_of

# Texts of items are short: that a word stands there counts, how often and among how many hardly.
_SATURATION, _LENGTH = 0.5, 0.3
# bm25s asks for a bar that is not shown. Its lock would be a semaphore of the system, which a
# killed process leaves behind.
tqdm.set_lock(threading.RLock())


@dataclass(frozen=True)
class ItemWords:
    """The words of n items. Never changes; safe for many threads.

    Attributes
    ----------
    index : None where no item has a word
    terms : code of each word, without its ending
    n_common : words of titles, categories and descriptions have the codes below
    rarity : (terms + 1,) the most that a word can score; the last one of a word that no item has
    """

    index: BM25 | None
    terms: Mapping[str, int]
    n_common: int
    rarity: Vectors
    n: int

    @classmethod
    def of(cls, common: Sequence[pl.Series], names: Sequence[pl.Series], n: int) -> "ItemWords":
        """From columns of n texts or lists of texts; `names` are those of people and the like."""
        terms: dict[str, int] = {}
        found: list[list[int]] = [[] for _ in range(n)]
        _add(common, terms, found)
        n_common = len(terms)
        _add(names, terms, found)
        if not terms:
            return cls(None, terms, 0, np.zeros(1, np.float32), n)
        index = BM25(k1=_SATURATION, b=_LENGTH, method="lucene")
        index.index((found, terms), create_empty_token=False, show_progress=False)
        n_having = np.append(np.diff(index.scores["indptr"])[: len(terms)], 0)
        rarity = np.log1p((n - n_having + 0.5) / (n_having + 0.5))
        return cls(index, terms, n_common, rarity.astype(np.float32), n)

    def is_common(self, stem: str) -> bool:
        """Whether a word is in titles, categories or descriptions, not in names alone."""
        return self.terms.get(stem, self.n_common) < self.n_common

    def share(self, stems: Sequence[str]) -> Vectors:
        """(n,) from 0 to 1: how much of what words say an item says too, rare words before all."""
        codes = [self.terms.get(stem, len(self.terms)) for stem in dict.fromkeys(stems)]
        known = [code for code in codes if code < len(self.terms)]
        if self.index is None or not known:
            return np.zeros(self.n, dtype=np.float32)
        share: Vectors = self.index.get_scores_from_ids(known) / self.rarity[codes].sum()
        return share


def _add(columns: Sequence[pl.Series], terms: dict[str, int], found: list[list[int]]) -> None:
    """Append the codes of the words of each item; each distinct text is read once."""
    for column in columns:
        texts = exploded(column)
        codes = {
            text: [terms.setdefault(stem_of(word), len(terms)) for word in plain_words(text)]
            for text in texts["text"].unique(maintain_order=True)
        }
        for row, text in zip(texts["row"], texts["text"], strict=True):
            found[row] += codes[text]
