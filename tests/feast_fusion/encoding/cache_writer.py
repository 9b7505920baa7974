"""A process that fills a vector cache: `cache_writer.py FOLDER FIRST N CHUNK [hold] [PLACE]`.

Says "ready", waits for a line, says "chunk" before each chunk, and at the end how many it encoded.
With `hold` it waits for a line within each chunk. PLACE, an absolute path, has shared vectors.
Its vectors are a cheap pure function of the text, so every one of them can be checked.
"""

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feast_fusion.encoding.vector_cache import VectorCache
from feast_fusion.feast_command import import_lightly

WIDTH = 16


def vectors_of(texts: Sequence[str]) -> NDArray[np.float32]:
    """(n, 16): 32 bytes of the text's digest as numbers; equal texts, equal vectors."""
    digests = (hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts)
    numbers = [np.frombuffer(digest, dtype="<u2") for digest in digests]
    return np.array(numbers, dtype=np.float32).reshape(-1, WIDTH)


def open_cache(folder: Path, place: str | Path | None = None) -> VectorCache:
    """The cache of a machine; `place` has the vectors that it shares with others."""
    if place is None:
        return VectorCache(folder, "tiny_0123", WIDTH)
    from feast_fusion.shared_vectors.shared_vectors import SharedVectors  # imports Feast

    shared = SharedVectors(str(place), folder / "shared", "tiny_0123", WIDTH)
    return VectorCache(folder, "tiny_0123", WIDTH, shared)


def _encode(texts: list[str]) -> NDArray[np.float32]:
    print("chunk", flush=True)
    if "hold" in sys.argv:
        sys.stdin.readline()
    return vectors_of(texts)


if __name__ == "__main__":
    import_lightly()
    first, n, chunk = map(int, sys.argv[2:5])
    print("ready", flush=True)
    sys.stdin.readline()
    place = sys.argv[-1] if sys.argv[-1].startswith("/") else None
    cache = open_cache(Path(sys.argv[1]), place)
    cache.encode([str(number) for number in range(first, first + n)], _encode, chunk=chunk)
    print(cache.n_encoded, flush=True)
