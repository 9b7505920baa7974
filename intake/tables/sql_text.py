"""Names, texts and paths as they stand in SQL for DuckDB."""

from pathlib import Path


def sql_text(value: str) -> str:
    """A text in single quotes.

    >>> sql_text("it's")
    "'it''s'"
    """
    return "'" + value.replace("'", "''") + "'"


def sql_name(value: str) -> str:
    """A name in double quotes."""
    return '"' + value.replace('"', '""') + '"'


def sql_path(path: Path) -> str:
    """A path as a text, with no character left that DuckDB would take for a pattern.

    >>> sql_path(Path("part[1].csv"))
    "'part[[]1].csv'"
    """
    return sql_text("".join(f"[{c}]" if c in "*?[" else c for c in str(path)))
