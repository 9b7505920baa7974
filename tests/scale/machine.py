"""A machine of a cluster, as far as vectors are concerned."""

from pathlib import Path
from typing import Any

from tests.feast_fusion.encoding.cache_writer import open_cache, vectors_of


class Machine:
    """Encodes in a process of the cluster; `n_encoded` says how many texts."""

    def __init__(self, folder: str, place: str) -> None:
        self._cache = open_cache(Path(folder), place)

    def encode(self, texts: list[str]) -> tuple[Any, int]:
        return self._cache.encode(texts, vectors_of, chunk=50), self._cache.n_encoded
