"""The one way from an id to a code: a whole number that an array can be indexed by."""

from collections.abc import Iterable
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


class IdMap:
    """n distinct ids in a fixed order; the code of an id is its place, from 0.

    >>> users = IdMap.of(["b", "a", "b"])
    >>> users.ids.to_pylist(), users.codes(["b", "c"]).tolist()
    (['a', 'b'], [1, -1])
    """

    def __init__(self, ids: pa.Array) -> None:
        """Codes in the order of `ids`, strings that are distinct and not null."""
        self.ids: pa.Array = ids.cast(pa.string())

    @classmethod
    def of(cls, ids: "pa.Array | pa.ChunkedArray | Iterable[str]") -> "IdMap":
        """The distinct ids, ascending."""
        distinct = pc.unique(_strings(ids)).drop_null()
        return cls(distinct.take(pc.sort_indices(distinct)))

    def __len__(self) -> int:
        """How many ids there are; codes are below it."""
        return len(self.ids)

    def __contains__(self, entity_id: object) -> bool:
        """Whether the id has a code."""
        return entity_id in self._code

    def code(self, entity_id: str) -> int | None:
        """The code of one id, None where it is unknown."""
        return self._code.get(entity_id)

    def codes(self, ids: "pa.Array | pa.ChunkedArray | Iterable[str]") -> NDArray[np.int64]:
        """(m,) the code of each id, -1 where it is unknown or null."""
        if isinstance(ids, pa.Array | pa.ChunkedArray):
            if len(ids) >= len(self):
                found = pc.index_in(_strings(ids), value_set=self.ids)
                return np.asarray(pc.fill_null(found, -1), dtype=np.int64)
            ids = _strings(ids).to_pylist()  # pc.index_in would hash all n ids for a few
        get = self._code.get
        return np.array([get(entity_id, -1) for entity_id in ids], dtype=np.int64)

    def beginning(self, prefix: str, n: int) -> list[str]:
        """At most `n` ids that begin so, the shortest first."""
        codes = np.flatnonzero(np.asarray(pc.starts_with(self.ids, prefix)))
        lengths = np.asarray(pc.utf8_length(self.take(codes)))
        found: list[str] = self.take(codes[np.lexsort((codes, lengths))[:n]]).to_pylist()
        return found

    def take(self, codes: NDArray[np.int64]) -> pa.Array:
        """The ids of known codes."""
        return self.ids.take(pa.array(codes))

    @cached_property
    def _code(self) -> dict[str, int]:
        return {entity_id: code for code, entity_id in enumerate(self.ids.to_pylist())}


def _strings(ids: "pa.Array | pa.ChunkedArray | Iterable[str]") -> pa.Array:
    if not isinstance(ids, pa.Array | pa.ChunkedArray):
        return pa.array(ids, pa.string())
    plain = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    return plain.cast(pa.string())
