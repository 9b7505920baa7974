"""Files of a model's folder: JSON, weights, tokenizer; whole or refused, and their digests.

Imports neither torch nor transformers, so that `feast apply` stays light.
"""

import hashlib
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from feast_fusion.errors import FeatureNotFoundError, schema_error

_VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "spm.model",
    "tokenizer.model",
    "source.spm",
    "*.tiktoken",
)
_TOKENIZER_FILES = (
    *_VOCABULARIES,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
)
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_LFS = b"version https://git-lfs"


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; {} when there is no such file.

    Raises
    ------
    SchemaError
        The file holds something else.
    """
    parsed = read_json_value(path) if path.is_file() else {}
    if not isinstance(parsed, dict):
        raise schema_error(
            str(path), got=type(parsed).__name__, expected="an object", remedy="Fetch it again."
        )
    return parsed


def read_json_value(path: Path) -> Any:
    """What a JSON file holds.

    Raises
    ------
    SchemaError
        The file is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise schema_error(
            str(path), got=str(error), expected="JSON", remedy="Fetch the model again."
        ) from error


def weight_files(folder: Path) -> list[Path]:
    """The files of the weights, safetensors preferred; none where a shard is absent."""
    for single in _WEIGHTS:
        index = folder / f"{single}.index.json"
        if (folder / single).is_file():
            return [folder / single]
        if index.is_file():
            shards = [
                folder / name for name in sorted(set(read_json(index)["weight_map"].values()))
            ]
            return shards if all(shard.is_file() for shard in shards) else []
    return []


def require_whole(folder: Path) -> None:
    """Refuse a folder that lacks a part of a model, or whose weights are not whole.

    Raises
    ------
    FeatureNotFoundError
        No config.json, no weights, or no vocabulary.
    SchemaError
        Weights are a pointer of Git LFS, or shorter than their header says.
    """
    if not (folder / "config.json").is_file() or not weight_files(folder):
        raise FeatureNotFoundError(
            f"model {folder}: got a folder without config.json or weights, expected both "
            "(model.safetensors). Save the model there with save_pretrained."
        )
    require_vocabulary(folder)
    require_sound_weights(folder)


def require_vocabulary(folder: Path) -> None:
    """Refuse a folder without a tokenizer: transformers would make up one that knows no word.

    Raises
    ------
    FeatureNotFoundError
        There is no file of a vocabulary.
    """
    if not _existing(folder, _VOCABULARIES):
        raise FeatureNotFoundError(
            f"model {folder}: got no tokenizer file, expected tokenizer.json or another vocabulary "
            "beside config.json. Save the model's tokenizer there with save_pretrained."
        )


def require_sound_weights(folder: Path) -> None:
    """Refuse weights that were not fetched, or not to their end.

    Raises
    ------
    SchemaError
        A file is a pointer of Git LFS, or shorter than its header says.
    """
    for path in weight_files(folder):
        with path.open("rb") as file:
            start = file.read(len(_LFS))
        if start == _LFS:
            raise schema_error(
                str(path),
                got="a pointer of Git LFS",
                expected="the weights",
                remedy="Run git lfs pull in the folder of the model.",
            )
        if path.suffix == ".safetensors":
            _require_safetensors(path)


def _require_safetensors(path: Path) -> None:
    """Header: its length in 8 bytes, then JSON with the offsets of each tensor behind it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        n_header = int.from_bytes(file.read(8), "little")
        header = file.read(n_header) if n_header < size else b""
    try:
        tensors = json.loads(header)
        ends = [t["data_offsets"][1] for name, t in tensors.items() if name != "__metadata__"]
    except (ValueError, TypeError, KeyError):
        ends = [-1]
    expected = 8 + n_header + max(ends, default=0)
    if min(ends, default=0) < 0 or size != expected:
        raise schema_error(
            str(path),
            got=f"{size:,} bytes",
            expected="a whole safetensors file" + (f" of {expected:,}" if min(ends) >= 0 else ""),
            remedy="It is truncated or damaged: fetch it again.",
        )


def digest_files(folder: Path) -> dict[str, str]:
    """SHA-256 of the files that decide a vector: config, weights and tokenizer, by file name."""
    names = [folder / "config.json", *weight_files(folder), *_existing(folder, _TOKENIZER_FILES)]
    return {path.name: digest_file(path) for path in names if path.is_file()}


def _existing(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    return sorted({path for pattern in patterns for path in folder.glob(pattern)})


def digest_file(path: Path) -> str:
    """SHA-256 of a file, computed once as long as the file does not change."""
    blob = path.resolve()
    # The hub's cache names a large file by its SHA-256, and hashing 16 GB takes ten seconds.
    if re.fullmatch(r"[0-9a-f]{64}", blob.name) and blob.parent.name == "blobs":
        return blob.name
    status = blob.stat()
    return _digest_content(blob, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _digest_content(path: Path, _size: int, _changed_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
