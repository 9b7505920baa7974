"""Columns that a table must have, or that dataset.toml names, and that are not there."""

from collections.abc import Sequence

from feast_fusion.errors import SchemaError, schema_error
from intake.name_hints import hint_of
from intake.near_name import near_name
from intake.text_template import formatted_columns

_ROLES = {"item_id": "item", "user_id": "user", "event_timestamp": "time"}


def missing_columns(
    where: str, section: str, missing: Sequence[str], present: Sequence[str]
) -> SchemaError:
    """The error that a table lacks columns which it must have or which dataset.toml names."""
    formatted = formatted_columns(missing, present)
    remedies = [
        f"A placeholder is the name of a column alone: write {{{column}}} for {{{written}}} in "
        "[items] text; format or round the column in the file."
        for written, column in formatted.items()
    ]
    others = [name for name in missing if name not in formatted]
    remedies += [
        _remedy_needed(name, section, present)
        if name in _ROLES
        else _remedy_named(name, section, present)
        for name in others
    ]
    return schema_error(
        f"{where}: missing columns {missing}",
        got=f"columns {present}",
        expected=f"also {missing}",
        remedy=" ".join(remedies),
    )


def _remedy_needed(name: str, section: str, present: Sequence[str]) -> str:
    """Of a column that each such table has: under which name it is there."""
    free = [each for each in present if each not in _ROLES]
    clearest = sorted(free, key=lambda each: -hint_of(each, _ROLES[name]))
    hinted = next((each for each in clearest if hint_of(each, _ROLES[name])), None)
    theirs = near_name(name, free) or hinted or "its name in the file"
    return f'Say which column it is: `columns = {{{name} = "{theirs}"}}` in [{section}].'


def _remedy_named(name: str, section: str, present: Sequence[str]) -> str:
    """Of a column that only dataset.toml names."""
    near = near_name(name, present)
    if near is None:
        return (
            f"No column is called like {name!r}: correct it in [{section}] of dataset.toml, or "
            "remove it."
        )
    return (
        f"Did you mean {near!r}? Correct [{section}]; or, to keep your name: "
        f'`columns = {{{name} = "{near}"}}`.'
    )
