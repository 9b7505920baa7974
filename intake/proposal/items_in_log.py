"""Items that only the log of events describes: a query that takes them from there."""

from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from intake.proposal.event_columns import EventColumns
from intake.proposal.seen_column import SeenColumn
from intake.proposal.seen_table import SeenTable, belongs_to, see_columns
from intake.tables.data_files import local_files
from intake.tables.sql_text import sql_name, sql_text


def described_by(log: SeenTable, events: EventColumns, now: datetime) -> list[SeenColumn]:
    """The columns of a log that say the same of an item in every row, as they are of the items."""
    names = [
        name
        for name, column in log.columns.items()
        if name not in events.names and column.kind not in ("nested", "list", "nothing", "truth")
    ]
    frame = pl.DataFrame({n: pl.Series(log.table[n]) for n in (events.item, *names)})
    said = [name for name in names if belongs_to(log, name, events.item)]
    items = frame.group_by(events.item, maintain_order=True).agg(
        pl.col(name).drop_nulls().first() for name in said
    )
    columns = see_columns(items.select(said).to_arrow(), now) if said else {}
    return [*columns.values()]


def query_of_items(
    log: SeenTable, item: str, names: list[str], folder: Path, copies: list[str]
) -> str:
    """SQL for DuckDB: a row per item of the log, with the least value of each column.

    Parameters
    ----------
    copies : names under which the id is a column too
    """
    firsts = "".join(f", min({sql_name(name)}) AS {sql_name(name)}" for name in names)
    key = sql_name(item)
    firsts += "".join(f", {key} AS {sql_name(name)}" for name in copies)
    return (
        f"SELECT {key} AS item_id{firsts} FROM {source_in_sql(log, folder)} "
        f"WHERE {key} IS NOT NULL GROUP BY {key} ORDER BY {key}"
    )


def query_of_logs(logs: tuple[SeenTable, ...], folder: Path) -> str:
    """SQL for DuckDB: the rows of logs with the same columns, named by their files."""
    columns = ", ".join(map(sql_name, logs[0].columns))
    return " UNION ALL ".join(
        f"SELECT {columns}, {sql_text(log.name)} AS event_type FROM {source_in_sql(log, folder)}"
        for log in logs
    )


def source_in_sql(table: SeenTable, folder: Path) -> str:
    """A table as DuckDB reads it, its path from `folder`, every field of a text file as text."""
    if table.query is not None:
        return f"({table.query})"
    place = relative(table.path, folder)
    if table.path.is_dir():
        place /= f"**/*{''.join(local_files(table.path)[0].path.suffixes)}"
    path = sql_text(str(place))
    if not table.is_delimited:
        return path
    options = ["all_varchar = true"]
    if "names" in table.options:
        names = ", ".join(map(sql_text, table.options["names"]))
        options += ["header = false", f"names = [{names}]"]
    if "quote" in table.options:
        options.append(f"quote = {sql_text(table.options['quote'])}")
    if "encoding" in table.options:
        options.append(f"encoding = {sql_text(table.options['encoding'])}")
    return f"read_csv({path}, {', '.join(options)})"


def source_keys(table: SeenTable, folder: Path) -> dict[str, Any]:
    """The keys of a section that name a table, its paths from `folder`."""
    place = str(relative(table.path, folder))
    if table.part is not None:
        return {"query": table.query, "database": place}
    return {"query": table.query} if table.query is not None else {"path": place, **table.options}


def relative(path: Path, folder: Path) -> Path:
    """The path from `folder` where it lies in it, else as it is."""
    path = path.absolute()
    return path.relative_to(folder) if path.is_relative_to(folder) else path
