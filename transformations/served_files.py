"""The log of served features, as its writer and its reader agree on it.

A row is one item of an answer: the request (`REQUEST`), the version of the model that answered
(`MODEL`), the item's place from 1 (`PLACE`) and the chance with which the place got it
(`PROPENSITY`, 1 where nothing is explored), each feature as it was served, and for each
view the time of the row that was served (`stamp_column`), null where there was none. A row has
neither query nor score.
"""

import uuid
from datetime import UTC, datetime
from pathlib import Path

from feast_fusion.column_names import feature_column

REQUEST = ("user_id", "item_id", "event_timestamp")
MODEL, PLACE, PROPENSITY = "model", "place", "propensity"
_STAMP = "%Y%m%dT%H%M%S%f"


def stamp_column(view: str) -> str:
    """The column of the event timestamp of a view's row.

    >>> stamp_column("user_stats")
    'user_stats__event_timestamp'
    """
    return feature_column(view, "event_timestamp")


def served_files(folder: Path) -> list[Path]:
    """The files of the log, newest first."""
    return sorted(folder.glob("served-*.parquet"), reverse=True)


def served_before(folder: Path, instant: datetime) -> list[Path]:
    """The files of the log that were written before an instant, newest first."""
    first = f"served-{instant.astimezone(UTC):{_STAMP}}"
    return [path for path in served_files(folder) if path.name < first]


def new_served_file(folder: Path, number: int) -> Path:
    """A file that comes after every earlier file; `number` grows within a process."""
    now = f"{datetime.now(UTC):{_STAMP}}"
    return folder / f"served-{now}-{number:06d}-{uuid.uuid4().hex[:8]}.parquet"
