"""Logs of what was shown: a field `N1-0 N2-1` is a row per item, with whether it was clicked."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import polars as pl

from intake.proposal.items_in_log import source_in_sql
from intake.proposal.seen_table import SeenTable, see_columns
from intake.tables.query import read_query
from intake.tables.section import TableSection
from intake.tables.sql_text import sql_name

_SHOWN = r"^\S+-[01]( \S+-[01])*$"


def with_rows_of_slates(table: SeenTable, folder: Path, now: datetime) -> SeenTable:
    """The table with a row per item shown, where one of its columns lists them; else itself."""
    for name, column in table.columns.items() if table.part is None else ():
        if column.kind != "text" or not _lists_shown(pl.Series(table.table[name])):
            continue
        shown = sql_name(name)
        query = (
            f"SELECT * EXCLUDE ({shown}, shown_item), "
            "regexp_replace(shown_item, '-[01]$', '') AS item_id, "
            "CAST(right(shown_item, 1) AS INTEGER) AS clicked FROM "
            f"(SELECT *, unnest(string_split({shown}, ' ')) AS shown_item "
            f"FROM {source_in_sql(table, folder)})"
        )
        rows = read_query(TableSection(query=query), folder)
        return replace(table, table=rows, columns=see_columns(rows, now), query=query)
    return table


def _lists_shown(texts: pl.Series) -> bool:
    known = texts.drop_nulls().head(1_000)
    several = known.str.contains(" ", literal=True)
    return bool(len(known) and several.any() and known.str.contains(_SHOWN).all())
