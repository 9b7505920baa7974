"""Rows of one item or user at one time: combined by a declared rule, or told apart."""

from dataclasses import replace

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from intake.missing_columns import missing_columns
from intake.screening import Screening
from intake.tables.source_table import SourceTable
from intake.versioned_tables import VersionedSection

_TIMES = ("event_timestamp", "created")
_SHOWN_CHARACTERS = 40


def combine_rows(source: SourceTable, section: VersionedSection, key: str) -> SourceTable:
    """The table with one row where rows agree in key, times and all columns that are not combined.

    Columns that dataset.toml does not name have the value of the first row.

    Raises
    ------
    SchemaError
        A column of `combine` is missing.
    """
    rules, table = section.combine, source.table
    missing = [name for name in (*rules, key) if name not in table.column_names]
    if rules and missing:
        raise missing_columns(source.where, source.section, missing, table.column_names)
    if not rules:
        return source
    frame = pl.DataFrame({name: pl.Series(table[name]) for name in table.column_names})
    read = [name for name in (key, *_TIMES, *section.read_columns) if name in frame.columns]
    same = list(dict.fromkeys(name for name in read if name not in rules))
    rest = [
        pl.col(name).first() for name in frame.columns if name not in same and name not in rules
    ]
    combined = [_combine(name, rule, frame.schema[name]) for name, rule in rules.items()]
    alone = pl.when(pl.col(key).is_null()).then(pl.int_range(pl.len()))  # a null is no key
    made = frame.group_by(*same, alone.alias(""), maintain_order=True).agg(*combined, *rest)
    said = ", ".join(f"{name} ({rule})" for name, rule in rules.items())
    note = f"{len(frame):,} rows of {source.label} are {len(made):,}, combined by {said}."
    combined_table = made.select(table.column_names).to_arrow()
    return replace(source, table=combined_table, notes=(*source.notes, note))


def _combine(name: str, rule: str, kind: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if rule == "list":
        column = column.explode() if kind == pl.List else column
        return column.drop_nulls().cast(pl.String).unique(maintain_order=True)
    expression: pl.Expr = getattr(column.drop_nulls(), rule)()
    return expression


def reject_repeated(found: Screening, section: VersionedSection, key: str) -> None:
    """Of rows with equal key and times the first stays.

    Others that agree with it in all that is read are duplicates; what differs is a reason of its
    own, whose example shows both rows.
    """
    identity = [name for name in (key, *_TIMES) if name in found.columns]
    columns: dict[str, pl.Series] = {name: pl.Series(found.columns[name]) for name in identity}
    others = [name for name in section.read_columns if name not in columns]
    columns |= {name: pl.Series(found.table[name]) for name in others}
    found.reject_duplicates(pl.DataFrame(columns))
    frame = pl.DataFrame({name: columns[name] for name in identity})
    usable = np.flatnonzero(found.is_usable)
    first = (
        frame[usable]
        .with_columns(first=pl.Series(usable))
        .group_by(identity)
        .agg(pl.col("first").min())
    )
    twin = frame.join(first, on=identity, how="left", maintain_order="left")["first"].to_numpy()
    is_other = found.is_usable & (twin != np.arange(len(frame)))
    if is_other.any():
        reason = f"differs from another row of its {key}" + (
            " and event_timestamp" if "event_timestamp" in found.table.column_names else ""
        )
        found.reject(is_other, reason)
        found.examples[reason] = _both(found, section, twin, is_other)


def _both(
    found: Screening,
    section: VersionedSection,
    twin: NDArray[np.int64],
    is_other: NDArray[np.bool_],
) -> str:
    row = int(np.flatnonzero(is_other)[0])
    pair = found.table.take(pa.array([int(twin[row]), row]))
    differ = [name for name in section.read_columns if pair[name][0] != pair[name][1]]
    shown = ", ".join(
        f"{name} {_short(pair[name][0])} and {_short(pair[name][1])}" for name in differ[:3]
    )
    rules = ", ".join(
        f'{name} = "{"list" if name in section.categorical else "last"}"' for name in differ
    )
    return (
        f"such as rows {int(twin[row])} and {row}: {shown}; a rule makes one row of them: "
        f"`combine = {{{rules}}}` in [{found.name}]"
    )


def _short(value: pa.Scalar) -> str:
    text = repr(value.as_py())
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
