"""A text column as an embedding in a Feast repository without a recommender."""

import sys
from pathlib import Path

import pyarrow.dataset as ds

from cli.embedded_redis import embedded_redis
from feast_fusion import VectorCache
from tests.examples.embedding_example import copy_example, run_example


def test_the_example_gives_vectors_online_and_in_history(tmp_path: Path) -> None:
    folder = tmp_path / "embedding"
    with embedded_redis(tmp_path / "redis") as redis:
        copy_example(folder, redis)
        first = run_example(folder, Path(sys.executable).parent)
        again = run_example(folder, Path(sys.executable).parent)
    assert again == first
    cosines = dict(line.split(" ", 1) for line in first)
    assert cosines["c"] == "has no vector"
    assert all(-0.5 < float(cosines[note]) < 0.5 for note in "ab"), "a has changed its subject"
    history = ds.dataset(folder / "data" / "note_embedding").to_table().to_pylist()
    assert sorted(row["note_id"] for row in history) == ["a", "a", "b", "c"]
    assert [row["note_id"] for row in history if row["embedding"] is None] == ["c"]
    (stored,) = (folder / "data" / "vectors").glob("*.sqlite")
    assert len(VectorCache(stored.parent, stored.stem, 384)) == 3, "each text was encoded once"
