"""A server is recognised by its vectors of a few texts, kept beside what was made with them."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feast_fusion.encoding.remote_model import RemoteModel, require_same_model
from feast_fusion.errors import StoreUnavailableError
from feast_fusion.files import replaced_file

Vectors = Mapping[str, NDArray[np.float32]]


def require_known_server(model: RemoteModel, path: Path, now: Vectors) -> None:
    """Keep a server's first vectors (d,) of each text; refuse one that gives others later.

    They outlive the cache: what was made of the vectors is still there when the cache is empty.

    Raises
    ------
    EncoderMismatchError
        The server gives other vectors than those kept.
    StoreUnavailableError
        The file cannot be read.
    """
    kept = _read(path) if path.is_file() else {}
    known = [text for text in now if text in kept]
    if known:
        before = np.array([kept[text] for text in known], dtype=np.float32)
        require_same_model(model, before, np.array([now[text] for text in known]))
    if len(known) < len(now):
        everything = {text: vector.tolist() for text, vector in now.items()} | kept
        with replaced_file(path, sync=True) as building:
            building.write_text(json.dumps(everything), encoding="utf-8")


def _read(path: Path) -> dict[str, list[float]]:
    try:
        kept: dict[str, list[float]] = json.loads(path.read_text(encoding="utf-8"))
        widths = {len(vector) for vector in kept.values()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise _unreadable(path, type(error).__name__) from error
    if len(widths) > 1:
        raise _unreadable(path, f"vectors of {sorted(widths)} numbers")
    return kept


def _unreadable(path: Path, got: str) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"{path}: got {got}, expected the vectors by which the encoder's server is recognised. "
        'Restore the file; or delete it and name the model anew in [encoder] model, as "name@2".'
    )
