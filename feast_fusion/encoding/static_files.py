"""The table of a static embedding: which tensors it has, and its width. Imports no torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feast_fusion.encoding.model_files import read_json, require_sound_weights, weight_files
from feast_fusion.errors import schema_error

_TABLES = ("embedding.weight", "embeddings")  # of sentence-transformers, of model2vec
_UNBOUNDED_TOKENS = 1_000_000


@dataclass(frozen=True)
class StaticTable:
    """Names in the file of a static embedding.

    Attributes
    ----------
    path : safetensors
    name : of the tensor (rows, width)
    width : numbers of a row
    is_model2vec : whether rows are found through `mapping` and weighed by `weights`, where there
        are such tensors
    max_tokens : tokens of a text that are read where the user says nothing
    """

    path: Path
    name: str
    width: int
    is_model2vec: bool
    max_tokens: int


def read_static_table(folder: Path) -> StaticTable:
    """The table in a folder.

    Raises
    ------
    SchemaError
        Its weights are no safetensors file with a table.
    """
    path = weight_files(folder)[0]
    shapes = _shapes(path) if path.suffix == ".safetensors" else {}
    name = next((name for name in _TABLES if name in shapes), None)
    if name is None:
        raise schema_error(
            str(path),
            got=f"tensors {sorted(shapes)}",
            expected=f"safetensors with one of {', '.join(_TABLES)}",
            remedy="Save the model again with sentence-transformers or model2vec.",
        )
    is_model2vec = name == "embeddings"
    # The limit that model2vec's own encode has unless the model is saved with another.
    limit = read_json(folder / "config.json").get("max_length", 512) if is_model2vec else None
    return StaticTable(path, name, shapes[name][1], is_model2vec, limit or _UNBOUNDED_TOKENS)


def has_static_table(folder: Path) -> bool:
    """Whether the weights of a folder are a table as model2vec saves it."""
    weights = weight_files(folder)
    return (
        bool(weights)
        and weights[0].suffix == ".safetensors"
        and "embeddings" in _shapes(weights[0])
    )


def _shapes(path: Path) -> dict[str, Any]:
    require_sound_weights(path.parent)
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return {name: tensor["shape"] for name, tensor in header.items() if name != "__metadata__"}
