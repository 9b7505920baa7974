"""Which items have the words of a query among their categories and names.

An encoder of sentences knows that "robots" is near to "machines", but finds a plain genre or a name
among others less surely than the word itself does.
"""

import re
import unicodedata
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer

from feast_fusion.column_names import feature_column
from feast_fusion.training_set import TrainingSet
from intake.dataset import Dataset
from serving.vector_index import Vectors
from training.ranker.columns import has_feature, list_values
from transformations import names

_WORD = re.compile(r"\w+")
_POSSESSIVE = re.compile(r"['\u2019]s\b")
_LONGEST = 3  # words of a category that are compared together


@dataclass(frozen=True)
class QueryWords:
    """The terms of n items, weighted by how rare they are.

    Attributes
    ----------
    matrix : (n, terms), rows of length 1
    """

    vectorizer: TfidfVectorizer | None
    matrix: sp.csr_matrix

    @classmethod
    def of(cls, rows: TrainingSet, dataset: Dataset) -> "QueryWords":
        """From one row per item: categories as they are, the words of the other text columns.

        The title is left out: its words say little of what an item is.
        """
        items = dataset.items
        texts = [name for name in items.text_columns if name != items.title]
        terms: list[list[str]] = [[] for _ in range(len(rows))]
        for name in dict.fromkeys((*items.categorical, *texts)):
            for found, values in zip(terms, _values(rows, name), strict=True):
                words = map(_words, values)
                if name in items.categorical:
                    found += [" ".join(each) for each in words]
                else:
                    found += [word for each in words for word in each]
        vectorizer = TfidfVectorizer(analyzer=list, sublinear_tf=True, dtype=np.float32)
        try:
            return cls(vectorizer, sp.csr_matrix(vectorizer.fit_transform(terms)))
        except ValueError:  # not one term in all items
            return cls(None, sp.csr_matrix((len(rows), 1), dtype=np.float32))

    def likeness(self, query: str) -> Vectors:
        """(n,) cosine of the items' terms to the query's; 0 where they share none.

        "A film-noir for children" asks for "film noir" and for "children"; an item with the
        category "Children's" has the second.
        """
        if self.vectorizer is None:
            return np.zeros(self.matrix.shape[0], dtype=np.float32)
        words = _words(query)
        asked = [
            " ".join(words[start : start + length])
            for length in range(1, _LONGEST + 1)
            for start in range(len(words) - length + 1)
        ]
        cosines: Vectors = (self.matrix @ self.vectorizer.transform([asked]).T).toarray().ravel()
        return cosines


def _words(text: str) -> list[str]:
    """Without case, accents and possessive s: "Children's Sci-Fi" is children, sci, fi."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(each for each in plain if not unicodedata.combining(each))
    return _WORD.findall(_POSSESSIVE.sub("", plain))


def _values(rows: TrainingSet, column: str) -> list[list[str]]:
    """Per row what a text column holds: the elements of a list, one value, or nothing."""
    name = feature_column(names.ITEM_PROFILE, column)
    if not has_feature(rows, name):
        return [[]] * len(rows)
    if name in rows.lists:
        lists = list_values(rows, name).to_pylist()
        found = [[str(each) for each in values if each is not None] for values in lists]
        return [found[at] if at >= 0 else [] for at in rows.lists[name].index.tolist()]
    values = rows.table[name].cast(pa.string()).to_pylist()
    return [[] if value is None else [value] for value in values]
