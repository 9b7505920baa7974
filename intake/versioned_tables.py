"""`[items]` and `[users]`: tables of versions, what was known of each and from when."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from intake.tables.section import Columns, TableSection
from intake.text_template import placeholders, require_whole_braces

Combine = Literal["list", "first", "last", "mean", "max", "min", "sum"]
ValidFrom = Literal["event_timestamp", "first_event", "beginning"]


class VersionedSection(TableSection):
    """A table of versions: what was known of an item or user, and from when.

    Attributes
    ----------
    numeric : columns that are numbers
    categorical : columns that are categories: one text each, or a list of texts
    valid_from : from when the first version holds: its "event_timestamp"; the "first_event" of the
        item or user (without one: the newest event of all), or its own time if that is earlier;
        or the "beginning", before all events. Later versions hold from their own time. None: its
        event_timestamp, and refused where most events would come before
    combine : how several rows of one key and time become one, column by column: their distinct
        values as a list, or the first, last, mean, max, min or sum of them, such as {tag = "list"};
        rows that still differ are rejected, but for the first
    """

    numeric: Columns = ()
    categorical: Columns = ()
    valid_from: ValidFrom | None = None
    combine: dict[str, Combine] = Field(default_factory=dict)

    @property
    def used_columns(self) -> Columns:
        """Columns that are features: numeric and categorical ones, each once."""
        return tuple(dict.fromkeys((*self.numeric, *self.categorical)))

    @property
    def read_columns(self) -> Columns:
        """All columns that are read, beside the key and times."""
        return self.used_columns


class Items(VersionedSection):
    """`[items]`: the table of item versions and which of its columns are features.

    Attributes
    ----------
    title : column that names an item
    text : the text of an item, which the language model encodes, with columns in braces; a clause
        up to the next full stop is left out where its column is null
    available_from, available_until : columns of times: only from the one on, and before the other,
        is the item recommended; null is no bound
    hidden : column of true and false: while it is true, the item is not recommended
    """

    title: str
    text: Annotated[str, AfterValidator(require_whole_braces)]
    available_from: str | None = None
    available_until: str | None = None
    hidden: str | None = None

    @model_validator(mode="after")
    def _is_not_read_twice(self) -> Self:
        taken = {"item_id", "event_timestamp", "created", *self.used_columns}
        for name in self.availability:
            if name in taken or self.availability.count(name) > 1:
                raise ValueError(
                    f"{name!r} is read already; a column of available_from, available_until or "
                    "hidden has no other use: copy it under another name in columns"
                )
        return self

    @model_validator(mode="after")
    def _is_not_the_key(self) -> Self:
        if "item_id" in (self.title, *self.numeric, *self.categorical):
            raise ValueError(
                "item_id is the key and no feature; copy it under another name, such as "
                'columns = {item_id = "item_id", title = "item_id"} and title = "title"'
            )
        return self

    @property
    def availability(self) -> Columns:
        """Columns that say when an item may be recommended; they are no features."""
        named = (self.available_from, self.available_until, self.hidden)
        return tuple(name for name in named if name is not None)

    @property
    def read_columns(self) -> Columns:
        """Those used, and those of availability."""
        return (*self.used_columns, *self.availability)

    @property
    def text_columns(self) -> Columns:
        """Columns named by the text template, in order of first use."""
        return placeholders(self.text)

    @property
    def used_columns(self) -> Columns:
        """Title, text, numeric and categorical columns, each once."""
        return tuple(dict.fromkeys((self.title, *self.text_columns, *super().used_columns)))


class Users(VersionedSection):
    """`[users]`: the optional table of user versions."""
