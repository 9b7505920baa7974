"""A dataset.toml, read exactly: what is wrong with it is named with its section and key."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from feast_fusion.errors import SchemaError, schema_error
from intake.dataset import Dataset
from intake.model_settings import Section
from intake.near_name import near_name
from intake.section_tree import section_at, sections
from intake.toml_syntax import not_toml


def load_dataset(path: str | Path) -> Dataset:
    """The data set described by the TOML file at `path`, its paths resolved against that file.

    Raises
    ------
    SchemaError
        The file is missing or not TOML, a key is unknown or missing, or a value has a wrong type.
    """
    path = Path(path).expanduser().resolve()
    if not path.is_file():
        raise schema_error(
            f"{path}",
            got="no such file",
            expected="a dataset.toml",
            remedy="Name one with --dataset or FUSION_DATASET; examples/movielens shows one.",
        )
    raw = _read_toml(path)
    _resolve_paths(raw, path.parent)
    try:
        return Dataset(**{**raw, "path": path})
    except ValidationError as error:
        raise SchemaError(f"{path}: {explain(error)}") from error


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise schema_error(
            f"{path}", got=f"{error}", expected="UTF-8", remedy="Save the file as UTF-8."
        ) from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise not_toml(str(path), text, error) from error


def explain(error: ValidationError) -> str:
    """What is wrong, with section and key."""
    return "; ".join(_explain(detail) for detail in error.errors())


def _resolve_paths(raw: dict[str, Any], folder: Path) -> None:
    """Makes the paths of files absolute, and the names of models that lie here."""
    for section in ("items", "users", "interactions"):
        table = raw.get(section)
        if not isinstance(table, dict):
            continue
        for key in ("path", "database"):
            place = table.get(key)
            if isinstance(place, str) and "://" not in place:
                table[key] = folder / Path(place).expanduser()
    for table in _tables_of_models(raw):
        if isinstance(table, dict) and isinstance(table.get("model"), str):
            model = folder / Path(table["model"]).expanduser()
            if model.is_dir() or (model.suffix == ".gguf" and model.is_file()):
                table["model"] = str(model)


def _tables_of_models(raw: dict[str, Any]) -> Iterator[Any]:
    encoder = raw.get("encoder")
    yield from (encoder, raw.get("writer"))
    candidates = encoder.get("candidates") if isinstance(encoder, dict) else None
    if isinstance(candidates, dict):
        yield from candidates.values()


def _explain(detail: ErrorDetails) -> str:
    """One defect in words.

    A `loc` of ("interactions", "types", "view", "decya") is the key decya of
    [interactions.types.view].
    """
    *path, key = [str(part) for part in detail["loc"]] or [""]
    where = f"[{'.'.join(path)}] {key}" if path else key
    if detail["type"] == "extra_forbidden":
        return f"unknown key {where}; {_about_unknown(key, path)}"
    if detail["type"] == "missing":
        return f"missing key {where}; add it (docs/dataset_keys.md has every key)"
    return f"{where}: got {detail['input']!r}; {detail['msg']}"


def _about_unknown(key: str, path: list[str]) -> str:
    """What was meant by a key that its section cannot have."""
    known = _keys_of(section_at(path))
    elsewhere = [f"[{'.'.join(place)}]" for place, model in sections() if key in _keys_of(model)]
    if elsewhere:
        return f"it is a key of {', '.join(elsewhere)}. Move it there, or remove it"
    if near := near_name(key, known):
        return f"did you mean {near}? (docs/dataset_keys.md has every key)"
    return f"expected one of {', '.join(known)}. Remove or rename it"


def _keys_of(model: type[Section]) -> list[str]:
    own = {"path"} if model is Dataset else set()  # which is where the file lies
    return sorted(model.model_fields.keys() - own)
