"""The events of a data set, of its file and of the journal: which can be used, and which not."""

import json
from datetime import datetime

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from feast_fusion.errors import SchemaError, schema_error
from feast_fusion.parquet.column_types import is_text
from feast_fusion.times import TIMESTAMP
from intake.column_roles import role_of
from intake.context import is_context
from intake.context_screening import add_context
from intake.dataset import Dataset, Interactions
from intake.event import journal_columns, with_columns_of
from intake.event_bounds import OUT_OF_RANGE, ValueRange
from intake.event_types import UNLISTED, decides_positive, weights_of
from intake.id_column import explain_unknown
from intake.outliers import note_outliers
from intake.positive import evaluate_positive, require_both_labels
from intake.screening import JOURNAL, Screening
from intake.tables.reading import read_table
from intake.tables.source_table import SourceTable
from intake.tables.text_types import texts_without_number
from intake.tombstones import Tombstones

_DERIVED = ("positive", "weight")
_EVENT_COLUMNS = ("user_id", "item_id", "event_timestamp")


def screen_file(
    dataset: Dataset, known: pa.Array, now: datetime, forgotten: Tombstones | None
) -> Screening:
    """The interactions of the file, each usable or with its defect; `known` : the ids of items."""
    section = dataset.interactions
    source = read_table(section, "interactions", dataset.folder, role_of(section))
    found = Screening(source, (*_EVENT_COLUMNS, *section.context.given))
    _screen_events(found, dataset, known, now, forgotten)
    return found


def screen_journal(
    dataset: Dataset,
    journal: pa.Table | None,
    file: Screening,
    known: pa.Array,
    now: datetime,
    forgotten: Tombstones | None,
) -> Screening | None:
    """The events of the journal, screened like the events of the file; None without any.

    An event is a duplicate where a usable row of the file has its event_id.
    """
    if not journal:
        return None
    table = journal_columns(journal, dataset.interactions.context)
    table = with_columns_of(table, file.table.schema)
    journaled = SourceTable("the event journal", "the event journal", JOURNAL, table)
    found = Screening(journaled, _EVENT_COLUMNS)
    _screen_events(found, dataset, known, now, forgotten)
    if "event_id" in file.columns:
        folded = file.columns["event_id"].filter(pa.array(file.is_usable))
        is_folded = pc.is_in(found.columns["event_id"], value_set=folded.drop_null())
        found.reject(np.asarray(is_folded), "duplicate")
    return found


def _screen_events(
    found: Screening,
    dataset: Dataset,
    known: pa.Array,
    now: datetime,
    forgotten: Tombstones | None,
) -> None:
    found.add_key("user_id")
    if forgotten is not None:
        found.leave_out(forgotten)
    found.add_key("item_id")
    found.add_time("event_timestamp", now)
    _reject_unknown(found, known)
    for name in ("event_type", "event_id"):
        if name in found.table.column_names:
            found.columns[name] = found.as_strings(name)
    _add_value(found, dataset.interactions.value_range)
    _add_positive(found, dataset)
    add_context(found, dataset.interactions.context)
    _reject_repeated_events(found)


def _reject_unknown(found: Screening, known: pa.Array) -> None:
    ids = found.columns["item_id"]
    is_unknown = ~np.asarray(pc.is_in(ids, value_set=known))
    expected, remedy = "", ""
    if is_unknown.any():
        expected, remedy = explain_unknown(ids.filter(pa.array(is_unknown)), known, "item_id")
    found.reject(is_unknown, "unknown item_id", "item_id", expected=expected, remedy=remedy)


def _add_value(found: Screening, allowed: ValueRange) -> None:
    """The value as float64, null where the file has null or NaN or no such column."""
    if "value" not in found.table.column_names:
        found.columns["value"] = pa.nulls(len(found.table), pa.float64())
        return
    column = found.table["value"]
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
    if not any(is_kind(column.type) for is_kind in kinds):
        raise _not_a_number(column, found)
    value = pl.Series("value", column.cast(pa.float64())).fill_nan(None)
    found.reject(value.is_infinite().fill_null(False).to_numpy(), "infinite value", "value")
    found.reject(
        ~value.is_between(*allowed).fill_null(True).to_numpy(),
        OUT_OF_RANGE.format("value"),
        "value",
        expected=f"where [interactions] value_range has {allowed[0]:g} to {allowed[1]:g}",
        remedy="Set value_range of [interactions] in dataset.toml to what a value can be.",
    )
    found.notes += note_outliers(
        value.filter(pl.Series(found.is_usable)).drop_nulls().to_numpy(),
        f"Numbers of 'value' in {found.label}:",
        "Set value_range of [interactions] in dataset.toml to refuse them, from the service too.",
    )
    found.columns["value"] = value.to_arrow()


def _not_a_number(column: pa.ChunkedArray, events: Screening) -> SchemaError:
    found = pc.drop_null(column)
    remedy = "Convert it: `frame['value'] = frame['value'].astype('float64')`"
    if is_text(column.type):
        found = texts_without_number(found)
        nothing = json.dumps(found[0].as_py(), ensure_ascii=False)
        remedy = f"Where it means that nothing is known, `null_values = [{nothing}]`"
    return schema_error(
        f"{events.where}: column 'value'",
        got=f"{column.type}, such as {found[0].as_py()!r}" if len(found) else column.type,
        expected="numbers, such as 4.5",
        remedy=f"{remedy} in [{events.name}]; or, if it is not what an event is worth, give it "
        'another name: `columns = {worth = "value"}`.',
    )


def _add_positive(found: Screening, dataset: Dataset) -> None:
    interactions = dataset.interactions
    expression = interactions.condition
    if interactions.types:
        found.columns["weight"] = pa.array(_weights(found, interactions))
    if expression is None:
        found.columns["positive"] = pa.array(np.ones(len(found.table), dtype=bool))
        return
    columns = dict(zip(found.table.column_names, found.table.columns, strict=True))
    derived = {name: column for name, column in found.columns.items() if name != "weight"}
    columns |= {name: pa.chunked_array([column]) for name, column in derived.items()}
    positive = evaluate_positive(expression, columns, found.where)
    is_undecided = positive.is_null().to_numpy()
    if interactions.positive is None:
        found.reject(
            is_undecided,
            UNLISTED,
            "event_type",
            expected=f"one of {', '.join(map(repr, interactions.types))}",
            remedy="Add [interactions.types.<its name>] with positive to dataset.toml.",
        )
    has_value = np.asarray(found.columns["value"].is_valid())
    found.reject(is_undecided & ~has_value, "null value")
    found.reject(is_undecided, "undecided positive")
    found.columns["positive"] = positive.fill_null(False).to_arrow()


def _weights(found: Screening, interactions: Interactions) -> NDArray[np.float32]:
    if "event_type" not in found.columns:
        if not decides_positive(interactions.types):
            return np.ones(len(found.table), np.float32)
        raise schema_error(
            f"{found.where}",
            got=f"columns {found.table.column_names}",
            expected="also event_type, by which [interactions.types] says what is positive",
            remedy='Name it, `columns = {event_type = "what it is called there"}` in '
            "[interactions], or remove [interactions.types].",
        )
    return weights_of(interactions.types, found.columns["event_type"])


def _reject_repeated_events(found: Screening) -> None:
    identity = {name: pl.Series(c) for name, c in found.columns.items() if name not in _DERIVED}
    others = [name for name in found.table.column_names if name not in identity]
    frame = pl.DataFrame({**identity, **{name: pl.Series(found.table[name]) for name in others}})
    if "event_id" in frame.columns:
        has_id = pl.col("event_id").is_not_null()
        frame = frame.select(
            "event_id",
            *(pl.when(~has_id).then(c).alias(c) for c in frame.columns if c != "event_id"),
        )
    found.reject_duplicates(frame)


def usable_events(dataset: Dataset, events: Screening, live: Screening | None) -> pa.Table:
    """The usable events of the file, then the usable events of the journal.

    Raises
    ------
    SchemaError
        No event of the file is usable, or `positive` says the same of all events.
    """
    table = events.usable(_interaction_schema(events))
    if live is not None and live.is_usable.any():
        schema = _interaction_schema(live)
        table = with_columns_of(table, schema).select(schema.names)
        table = pa.concat_tables([table, live.usable(schema)])
    require_both_labels(dataset, table)
    return table


def _interaction_schema(events: Screening) -> pa.Schema:
    fields = [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("event_timestamp", TIMESTAMP),
        ("positive", pa.bool_()),
        ("value", pa.float64()),
    ]
    if "weight" in events.columns:
        fields.append(("weight", pa.float32()))
    fields += [(name, column.type) for name, column in events.columns.items() if is_context(name)]
    optional = [name for name in ("event_type", "event_id") if name in events.columns]
    return pa.schema([*fields, *((name, pa.string()) for name in optional)])
