"""Looking after shared vectors: what there is, whether it is sound, and few files of many."""

import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from pyarrow import fs

from feast_fusion.errors import SchemaError
from feast_fusion.shared_place import open_place, reached
from feast_fusion.shared_vectors.vector_parts import SHARED, VectorParts

_MERGED_BYTES = 256 << 20  # of a part made of small ones, which are in memory together

_log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class SharedFolder:
    """One encoder's vectors at a place.

    Attributes
    ----------
    parts : bytes of each file by its name
    """

    encoder_id: str
    parts: dict[str, int]

    @property
    def n_bytes(self) -> int:
        """Of all files."""
        return sum(self.parts.values())


def list_shared(place: str) -> list[SharedFolder]:
    """The encoders that have vectors at a place, by name.

    Raises
    ------
    StoreUnavailableError
        It cannot be reached.
    """
    with reached(place, *SHARED):
        filesystem, root = open_place(place)
        inside = filesystem.get_file_info(fs.FileSelector(root, allow_not_found=True))
    ids = sorted(PurePosixPath(i.path).name for i in inside if i.type == fs.FileType.Directory)
    found = [SharedFolder(each, VectorParts(place, each).sizes()) for each in ids]
    return [each for each in found if each.parts]


def verify_shared(place: str, shared: SharedFolder, progress: Progress) -> tuple[int, list[str]]:
    """How many vectors are sound, and the damaged parts, which are now removed.

    Their texts are encoded, and shared, when they are next needed.
    """
    parts = VectorParts(place, shared.encoder_id)
    n_sound, damaged = 0, []
    for n_read, name in enumerate(shared.parts, 1):
        try:
            n_sound += len(parts.read(name))
        except SchemaError:
            damaged.append(name)
        progress(shared.encoder_id, n_read, len(shared.parts))
    parts.remove(damaged)
    return n_sound, [parts.path(name) for name in damaged]


def merge_shared(place: str, shared: SharedFolder) -> SharedFolder:
    """The encoder's vectors in few parts: small ones are made one, a vector twice there once.

    Others may read and add meanwhile; who reads a part that goes encodes its texts.
    """
    parts = VectorParts(place, shared.encoder_id)
    for names in _together(shared.parts):
        vectors: dict[bytes, bytes] = {}
        read = [name for name in names if _add(parts, name, vectors)]
        if len(read) > 1:
            merged = parts.write(vectors)
            parts.remove([name for name in read if name != merged])
    return SharedFolder(shared.encoder_id, parts.sizes())


def remove_shared(place: str, shared: SharedFolder, keys: Collection[bytes]) -> int:
    """Remove the vectors under some keys; how many there were.

    A part that has one is written anew without it. A damaged part is left as it is.
    """
    parts, gone, n_removed = VectorParts(place, shared.encoder_id), frozenset(keys), 0
    for name in shared.parts:
        if gone.isdisjoint(parts.read_keys(name)):
            continue
        vectors: dict[bytes, bytes] = {}
        if _add(parts, name, vectors):
            kept = {key: value for key, value in vectors.items() if key not in gone}
            if kept:
                parts.write(kept)
            parts.remove([name])
            n_removed += len(vectors) - len(kept)
    return n_removed


def _add(parts: VectorParts, name: str, vectors: dict[bytes, bytes]) -> bool:
    """Whether a part could be read; its vectors are now in `vectors`."""
    try:
        vectors |= parts.read(name)
    except SchemaError as error:
        _log.warning("%s The part is left as it is. Run feast-fusion cache verify.", error)
        return False
    return True


def _together(sizes: dict[str, int]) -> Iterator[list[str]]:
    """Which parts are merged: the small ones, up to `_MERGED_BYTES` at a time.

    >>> list(_together({"a": 1, "b": 200 << 20, "c": 100 << 20, "d": 90 << 20, "e": 90 << 20}))
    [['a', 'c', 'd'], ['e']]
    """
    group: list[str] = []
    n_bytes = 0
    for name, size in sizes.items():
        if size > _MERGED_BYTES / 2:
            continue
        if n_bytes + size > _MERGED_BYTES:
            yield group
            group, n_bytes = [], 0
        group.append(name)
        n_bytes += size
    if group:
        yield group
