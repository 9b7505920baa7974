"""A process that fills a vector cache: `python cache_writer.py FOLDER FIRST N CHUNK [hold]`.

Says "ready", waits for a line, says "chunk" before each chunk, and at the end how many it encoded.
With `hold` it waits for a line within each chunk.
Its vectors are a cheap pure function of the text, so every one of them can be checked.
"""

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feast_fusion.encoding.vector_cache import VectorCache

WIDTH = 16


def vectors_of(texts: Sequence[str]) -> NDArray[np.float32]:
    """(n, 16): 32 bytes of the text's digest as numbers; equal texts, equal vectors."""
    digests = (hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts)
    numbers = [np.frombuffer(digest, dtype="<u2") for digest in digests]
    return np.array(numbers, dtype=np.float32).reshape(-1, WIDTH)


def open_cache(folder: Path) -> VectorCache:
    return VectorCache(folder, "tiny_0123", WIDTH)


def _encode(texts: list[str]) -> NDArray[np.float32]:
    print("chunk", flush=True)
    if "hold" in sys.argv:
        sys.stdin.readline()
    return vectors_of(texts)


if __name__ == "__main__":
    first, n, chunk = map(int, sys.argv[2:5])
    print("ready", flush=True)
    sys.stdin.readline()
    cache = open_cache(Path(sys.argv[1]))
    cache.encode([str(number) for number in range(first, first + n)], _encode, chunk=chunk)
    print(cache.n_encoded, flush=True)
