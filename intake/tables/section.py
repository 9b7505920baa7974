"""What `[items]`, `[users]` and `[interactions]` share: where their rows come from."""

from codecs import lookup
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from intake.model_settings import Section

Unit = Literal["s", "ms", "us", "ns"]
Columns = tuple[str, ...]


def known_zone(name: str) -> str:
    """The name of a time zone, or a ValueError."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("no such time zone; write one such as Asia/Shanghai or UTC") from error
    return name


def _known_encoding(name: str) -> str:
    try:
        return lookup(name).name
    except LookupError as error:
        raise ValueError("no such encoding; write one such as latin-1 or gb18030") from error


class TimeReading(Section):
    """`time` of a table: how its columns of times are meant.

    Attributes
    ----------
    unit : of numbers, counted from 1970-01-01 UTC: s, ms, us or ns
    format : of texts, in the codes of `strptime`, such as "%m/%d/%Y %I:%M:%S %p"
    zone : of times that do not say their zone, such as "Asia/Shanghai"; of a time that occurs
        twice when clocks are set back, the first is meant
    """

    unit: Unit | None = None
    format: str | None = None
    zone: Annotated[str, AfterValidator(known_zone)] | None = None

    @model_validator(mode="after")
    def _is_one_form(self) -> Self:
        if self.unit is not None and (self.format is not None or self.zone is not None):
            raise ValueError("unit counts from 1970 in UTC; it takes neither format nor zone")
        return self


class TableSection(Section):
    """A table of the data set: files or a query, and how they are read.

    Attributes
    ----------
    path : a file, a folder of files, a pattern such as "events/*.csv.gz", or a URL such as s3://;
        CSV, TSV, JSON lines, a JSON array, Parquet or feather, also .gz and .zst
    query : SQL in place of path, over files or over the database
    database : what query is asked of: an SQLite or DuckDB file, or postgresql:// (extra
        postgres); None: DuckDB, which reads files: "SELECT * FROM 'events/*.csv'"
    columns : our name = their name, such as {user_id = "userId"}
    time : how the columns of times are meant, where they do not say it themselves
    separator : between the fields of a line; None: what the first lines have
    quote : the mark around a field that holds a separator or a line break; "" for none;
        None: what the lines have
    names : the columns of files without a line of names, in order
    encoding : of text files; None: UTF-8
    null_values : texts of a text file that mean that nothing is known; an empty field always does
    lists : columns of a text file with several values in a field, and what stands between them,
        such as {genres = "|"}
    """

    path: Path | str | None = None
    query: str | None = None
    database: Path | str | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    time: TimeReading = TimeReading()
    separator: Annotated[str, Field(min_length=1, max_length=4)] | None = None
    quote: Annotated[str, Field(max_length=1)] | None = None
    names: Columns = ()
    encoding: Annotated[str, AfterValidator(_known_encoding)] | None = None
    null_values: Columns = ()
    lists: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_one_source(self) -> Self:
        if (self.path is None) == (self.query is None):
            raise ValueError("it needs path or query, and not both")
        if self.database is not None and self.query is None:
            raise ValueError("database needs a query, such as 'SELECT * FROM orders'")
        return self

    @property
    def where(self) -> str:
        """Path or query, as messages name it."""
        if self.path is not None:
            return str(self.path)
        words = " ".join((self.query or "").split())
        short = words if len(words) <= 60 else f"{words[:57]}..."
        return f"{without_password(self.database)}: query {short!r}"

    @property
    def label(self) -> str:
        """The last part of the path, or the name of the database, for sentences."""
        source = self.path if self.path is not None else self.database
        if source is None:
            return "the query"
        return source.name if isinstance(source, Path) else source.rstrip("/").rsplit("/", 1)[-1]


def without_password(database: Path | str | None) -> str:
    """A database as messages name it: a URL without its user and password.

    >>> without_password("postgresql://me:secret@host/shop")
    'postgresql://host/shop'
    """
    if database is None:
        return "DuckDB"
    scheme, has_scheme, rest = str(database).partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if has_scheme else str(database)
