"""Notes to embed, and the vectors that come of them; definitions.py says how to run it."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from feast import FeatureStore

from feast_fusion import read_online

NOTES = [
    ("a", datetime(2024, 1, 1, tzinfo=UTC), "Buy apples and pears"),
    ("b", datetime(2024, 1, 2, tzinfo=UTC), "Train for the marathon"),
    ("c", datetime(2024, 1, 3, tzinfo=UTC), None),
    ("a", datetime(2024, 2, 1, tzinfo=UTC), "Learn to play the cello"),
]


def write() -> None:
    """The versions of the notes as the file that definitions.py declares."""
    Path("data").mkdir(exist_ok=True)
    notes = pd.DataFrame(NOTES, columns=["note_id", "event_timestamp", "text"])
    notes.to_parquet("data/notes.parquet")


def read() -> None:
    """Print which notes have a vector, and how near each is to note a as it was in January."""
    store = FeatureStore(".")
    spine = pd.DataFrame({"note_id": ["a"], "event_timestamp": [datetime(2024, 1, 15, tzinfo=UTC)]})
    then = store.get_historical_features(spine, ["note_embedding:embedding"]).to_df()
    found = read_online(store, ["note_embedding:embedding"], {"note_id": ["a", "b", "c"]})
    cosines = found.columns["embedding"] @ then["embedding"][0]
    for note_id, is_there, cosine in zip("abc", found.valid["embedding"], cosines, strict=True):
        print(note_id, f"{cosine:.3f}" if is_there else "has no vector")


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[1]]()
