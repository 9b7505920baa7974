"""Columns that a table must have, or that dataset.toml names, and that are not there."""

from collections.abc import Sequence
from difflib import get_close_matches

from feast_fusion.errors import SchemaError, schema_error
from intake.text_template import formatted_columns


def missing_columns(
    where: str, section: str, missing: Sequence[str], present: Sequence[str]
) -> SchemaError:
    """The error that a table lacks columns which it must have or which dataset.toml names."""
    near = get_close_matches(missing[0], present, n=1) or list(present[:1]) or ["their_name"]
    remedy = (
        "Correct what dataset.toml names, or say what the column is called in the file: "
        f'`columns = {{{missing[0]} = "{near[0]}"}}` in [{section}].'
    )
    for written, column in formatted_columns(missing, present).items():
        remedy = (
            f"A placeholder is the name of a column alone: write {{{column}}} for {{{written}}} in "
            "[items] text; format or round the column in the file."
        )
    return schema_error(
        f"{where}: missing columns {missing}",
        got=f"columns {present}",
        expected=f"also {missing}",
        remedy=remedy,
    )
