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
        """Numeric and categorical columns, each once."""
        return tuple(dict.fromkeys((*self.numeric, *self.categorical)))


class Items(VersionedSection):
    """`[items]`: the table of item versions and which of its columns are features.

    Attributes
    ----------
    title : column that names an item
    text : the text of an item, which the language model encodes, with columns in braces; a clause
        up to the next full stop is left out where its column is null
    """

    title: str
    text: Annotated[str, AfterValidator(require_whole_braces)]

    @model_validator(mode="after")
    def _is_not_the_key(self) -> Self:
        if "item_id" in (self.title, *self.numeric, *self.categorical):
            raise ValueError(
                "item_id is the key and no feature; copy it under another name, such as "
                'columns = {item_id = "item_id", title = "item_id"} and title = "title"'
            )
        return self

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
