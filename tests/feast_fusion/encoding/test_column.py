"""A column of text as a column of vectors."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from feast_fusion import SchemaError, embed_column
from tests.feast_fusion.encoding.conftest import MINILM


def embed(frame: pd.DataFrame, folder: Path) -> pd.DataFrame:
    return embed_column(frame, "text", into="embedding", model=MINILM, cache=folder)


def test_a_row_depends_on_its_text_only(tmp_path: Path) -> None:
    texts = ["Heat", None, "Alien", " ", float("nan"), "Heat", pd.NA]
    frame = pd.DataFrame({"id": range(7), "text": texts}, index=[9, 8, 7, 6, 5, 4, 3])
    found = embed(frame, tmp_path)
    alone = embed(frame.iloc[[2]], tmp_path / "other")
    pd.testing.assert_frame_equal(found[["id", "text"]], frame)
    vectors = found["embedding"].to_list()
    assert [vector is not None for vector in vectors] == [
        True,
        False,
        True,
        *[False] * 2,
        True,
        False,
    ]
    np.testing.assert_array_equal(vectors[0], vectors[5])
    np.testing.assert_allclose(vectors[2], alone["embedding"].iloc[0], atol=1e-2)
    assert vectors[0].dtype == np.float32
    assert np.linalg.norm(vectors[0]) == pytest.approx(1.0, abs=1e-5)


def test_no_rows_and_no_texts_load_no_model(tmp_path: Path) -> None:
    assert embed(pd.DataFrame({"text": []}), tmp_path)["embedding"].to_list() == []
    assert embed(pd.DataFrame({"text": [None]}), tmp_path)["embedding"].to_list() == [None]


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"got columns \['body'\], expected a column 'text'"):
        embed(pd.DataFrame({"body": ["a"]}), tmp_path)
    with pytest.raises(SchemaError, match="column 'text': got 3, expected text or null"):
        embed(pd.DataFrame({"text": ["a", 3]}), tmp_path)
