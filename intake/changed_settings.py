"""Settings of the models changed for one run: `--set ranker.fusion=gated`."""

import tomllib
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from feast_fusion.errors import SchemaError, schema_error
from intake.dataset import Dataset
from intake.dataset_file import explain

_SECTIONS = ("ranker", "candidates")
# What earlier steps have made rests on them.
_OF_EARLIER_STEPS = ("candidates.refit_every", "ranker.negatives")


def change_settings(dataset: Dataset, changes: Sequence[str]) -> Dataset:
    """The data set with other settings of its models.

    Parameters
    ----------
    changes : "section.key=value", the value as TOML has it; a text may stand without quotes

    Raises
    ------
    SchemaError
        A key is unknown or not one of the models', or a value has a wrong type.
    """
    raw = dataset.model_dump()
    for change in changes:
        name, equals, value = change.partition("=")
        *sections, key = name.strip().split(".")
        if not equals or not sections or sections[0] not in _SECTIONS:
            raise _refused(change, "ranker.KEY=VALUE or candidates.KEY=VALUE")
        if name.strip() in _OF_EARLIER_STEPS:
            raise _refused(change, "a setting of the fit, not of sources or training set")
        _table(raw, sections, change)[key] = _value(value)
    try:
        return Dataset.model_validate(raw)
    except ValidationError as error:
        raise SchemaError(f"--set: {explain(error)}") from error


def _table(raw: dict[str, Any], sections: list[str], change: str) -> dict[str, Any]:
    table = raw
    for section in sections:
        found = table.get(section)
        if not isinstance(found, dict):
            raise _refused(change, "a section that dataset.toml can have")
        table = found
    return table


def _value(text: str) -> Any:
    try:
        (value,) = tomllib.loads(f"value = {text}").values()
    except (tomllib.TOMLDecodeError, ValueError):
        return text.strip()
    return value


def _refused(change: str, expected: str) -> SchemaError:
    return schema_error(
        "--set",
        got=change,
        expected=expected,
        remedy="docs/dataset_keys.md has every key; set others in dataset.toml.",
    )
