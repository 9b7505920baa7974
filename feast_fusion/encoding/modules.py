"""How a model makes one vector of a text: the modules that sentence-transformers saved with it.

Nothing is guessed: a folder that does not say its pooling is refused, as is a module that is not
built in. Imports neither torch nor transformers.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from feast_fusion.encoding.layers_config import Layer, read_layer
from feast_fusion.encoding.model_files import (
    read_json,
    read_json_value,
    require_sound_weights,
    require_vocabulary,
    require_whole,
    weight_files,
)
from feast_fusion.encoding.static_files import has_static_table
from feast_fusion.encoding.transformer_config import TransformerConfig, read_transformer
from feast_fusion.errors import FeatureNotFoundError, schema_error

POOLINGS = ("mean", "cls", "last", "weighted_mean", "max", "mean_sqrt_len")

# Names of sentence-transformers; vectors of several poolings stand in the order of the old ones.
_POOLING_NAMES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weighted_mean",
    "pooling_mode_lasttoken": "last",
    "mean_sqrt_len_tokens": "mean_sqrt_len",
    "weightedmean": "weighted_mean",
    "lasttoken": "last",
}
_AFTER_POOLING = ("Dense", "LayerNorm", "Normalize", "Dropout")


@dataclass(frozen=True)
class Modules:
    """A transformer, the pooling of its token states, and the layers behind it.

    Attributes
    ----------
    transformer : its folder and what is said of its input
    pooling : poolings whose vectors stand one after the other; almost always one
    include_prompt : whether tokens of a prompt are pooled
    layers : behind the pooling, in order
    """

    transformer: TransformerConfig
    pooling: tuple[str, ...]
    include_prompt: bool = True
    layers: tuple[Layer, ...] = ()


@dataclass(frozen=True)
class StaticModule:
    """A table of one vector per token, whose mean is the vector of a text."""

    folder: Path
    layers: tuple[Layer, ...] = ()


def read_modules(folder: Path, pooling: str | None = None) -> Modules | StaticModule:
    """What the files of a model say of the way from text to vector.

    Parameters
    ----------
    pooling : instead of the model's own

    Raises
    ------
    FeatureNotFoundError
        The folder lacks config.json, weights, or a vocabulary.
    SchemaError
        The pooling is unknown or not said; a module or an option is not built in; weights are not
        whole.
    """
    _require_known(pooling)
    if (folder / "adapter_config.json").is_file():
        raise schema_error(
            f"model {folder}",
            got="an adapter (adapter_config.json)",
            expected="a whole model",
            remedy="Merge it with merge_and_unload and save the result with save_pretrained.",
        )
    listed = _listed(folder)
    if not listed:
        return _without_list(folder, pooling)
    kinds = [_kind(folder, module) for module in listed]
    paths = [folder / module.get("path", "") for module in listed]
    layers = tuple(
        read_layer(kind, path) for kind, path in zip(kinds, paths, strict=True)
        if kind in ("Dense", "LayerNorm", "Normalize")
    )  # fmt: skip
    if kinds[0] == "StaticEmbedding" and set(kinds[1:]) <= set(_AFTER_POOLING):
        return _read_static(paths[0], pooling, layers)
    behind = set(kinds[2:])
    if kinds[:2] != ["Transformer", "Pooling"] or not behind <= set(_AFTER_POOLING):
        raise _not_built_in(folder, f"modules {', '.join(kinds)}")
    require_whole(paths[0])
    found = _pooling_of(folder, paths[1], pooling)
    return replace(found, transformer=read_transformer(paths[0]), layers=layers)


def _read_static(folder: Path, pooling: str | None, layers: tuple[Layer, ...]) -> StaticModule:
    """A static embedding, its weights and its vocabulary whole."""
    if pooling not in (None, "mean"):
        raise schema_error(
            "[encoder] pooling",
            got=pooling,
            expected=f"mean, the only one of a static embedding ({folder})",
            remedy="Leave it out.",
        )
    if not weight_files(folder):
        raise FeatureNotFoundError(
            f"model {folder}: got no weights, expected model.safetensors. Fetch the model again."
        )
    require_vocabulary(folder)
    require_sound_weights(folder)
    return StaticModule(folder, layers)


def _listed(folder: Path) -> list[dict[str, Any]]:
    path = folder / "modules.json"
    parsed: list[dict[str, Any]] = read_json_value(path) if path.is_file() else []
    return parsed


def _kind(folder: Path, module: dict[str, Any]) -> str:
    """The class of a module; one of the model's own is never run."""
    if not module["type"].startswith("sentence_transformers."):
        raise _not_built_in(folder, f"a module of its own, {module['type']}")
    return str(module["type"].rsplit(".", 1)[-1])


def _without_list(folder: Path, pooling: str | None) -> Modules | StaticModule:
    if has_static_table(folder):
        return _read_static(folder, pooling, ())
    require_whole(folder)
    if pooling is None:
        raise schema_error(
            f"model {folder}",
            got="no modules.json, which says how token states become one vector",
            expected="the folder as its authors published it",
            remedy="Fetch it whole, or name the pooling as its authors describe it: [encoder] "
            f"pooling = one of {', '.join(POOLINGS)}.",
        )
    return Modules(read_transformer(folder), (pooling,))


def _pooling_of(folder: Path, path: Path, pooling: str | None) -> Modules:
    """Pooling and prompt rule; the transformer is filled in by the caller."""
    empty = TransformerConfig(folder)
    config = read_json(path / "config.json")
    include_prompt = config.get("include_prompt", True)
    if pooling is not None:
        return Modules(empty, (pooling,), include_prompt)
    if not config:
        raise schema_error(
            f"model {folder}",
            got=f"no {path.name}/config.json, which says the pooling",
            expected="the folder as its authors published it",
            remedy="Fetch it whole, or name the pooling as its authors describe it: [encoder] "
            f"pooling = one of {', '.join(POOLINGS)}.",
        )
    declared = config.get("pooling_mode") or [key for key in _POOLING_NAMES if config.get(key)]
    modes = [declared] if isinstance(declared, str) else list(declared) or ["mean"]
    names = tuple(_POOLING_NAMES.get(mode, mode) for mode in modes)
    if not set(names) <= set(POOLINGS):
        raise _not_built_in(folder, f"pooling {', '.join(modes)}")
    return Modules(empty, names, include_prompt)


def _require_known(pooling: str | None) -> None:
    if pooling is not None and pooling not in POOLINGS:
        raise schema_error(
            "[encoder] pooling",
            got=pooling,
            expected=f"one of {', '.join(POOLINGS)}",
            remedy="Correct it, or leave it out to use the model's own.",
        )


def _not_built_in(folder: Path, got: str) -> Exception:
    return schema_error(
        f"model {folder}",
        got=got,
        expected=f"Transformer, Pooling ({', '.join(POOLINGS)}), then any of "
        f"{', '.join(_AFTER_POOLING)}; or StaticEmbedding",
        remedy="Choose another model: code that comes with a model is never run.",
    )
