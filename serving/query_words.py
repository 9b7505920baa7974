"""Which items have the words of a query in their text, title or categories.

An encoder of sentences knows that "robots" is near to "machines", but finds a plain genre or a name
among others less surely than the word itself does.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer

from feast_fusion.column_names import feature_column
from feast_fusion.training_set import TrainingSet
from intake.dataset import Dataset
from serving.vector_index import Vectors
from training.ranker.columns import has_feature, list_values
from transformations import names


@dataclass(frozen=True)
class QueryWords:
    """The words of n items, weighted by how rare they are.

    Attributes
    ----------
    matrix : (n, words), rows of length 1
    """

    vectorizer: TfidfVectorizer | None
    matrix: sp.csr_matrix

    @classmethod
    def of(cls, rows: TrainingSet, dataset: Dataset) -> "QueryWords":
        """From one row per item, of the text columns and the categories."""
        columns = dict.fromkeys((*dataset.items.text_columns, *dataset.items.categorical))
        texts = _joined(rows, [feature_column(names.ITEM_PROFILE, name) for name in columns])
        vectorizer = TfidfVectorizer(
            sublinear_tf=True, strip_accents="unicode", stop_words="english", dtype=np.float32
        )
        try:
            return cls(vectorizer, sp.csr_matrix(vectorizer.fit_transform(texts)))
        except ValueError:  # not one word in all texts
            return cls(None, sp.csr_matrix((len(rows), 1), dtype=np.float32))

    def likeness(self, query: str) -> Vectors:
        """(n,) cosine of the items' words to the query's; 0 where they share no word."""
        if self.vectorizer is None:
            return np.zeros(self.matrix.shape[0], dtype=np.float32)
        asked = self.vectorizer.transform([query])
        cosines: Vectors = (self.matrix @ asked.T).toarray().ravel()
        return cosines


def _joined(rows: TrainingSet, columns: list[str]) -> list[str]:
    """n texts: what the columns of a row hold, the elements of its lists too."""
    parts = []
    for name in columns:
        if not has_feature(rows, name):
            continue
        if name in rows.lists:
            lists = list_values(rows, name).to_pylist()
            strings = [" ".join(filter(None, each)) for each in lists]
            parts.append(np.array([*strings, ""], dtype=object)[rows.lists[name].index])
        else:
            values = pc.fill_null(rows.table[name].cast(pa.string()), "")
            parts.append(values.to_numpy(zero_copy_only=False).astype(object))
    return [" ".join(each) for each in zip(*parts, strict=True)] if parts else [""] * len(rows)
