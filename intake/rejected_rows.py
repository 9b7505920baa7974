"""Examples of rows that were rejected, for people."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from intake.time_readings import show_instant

_SHOWN, _CHARACTERS, _LOOKED_AT = 3, 80, 1_000


def examples_of(table: pa.Table, column: str | None, rows: NDArray[np.int64], expected: str) -> str:
    """What was met: up to three different values of a column, or the rows where none is to blame.

    Parameters
    ----------
    rows : indices of the rejected rows, at least one
    expected : what the values could have been; may be empty
    """
    if column is None:
        shown = ", ".join(str(int(row)) for row in rows[:_SHOWN])
        return f"such as row {shown}" if len(rows) == 1 else f"such as rows {shown}"
    values = dict.fromkeys(shown_value(table[column][int(row)]) for row in rows[:_LOOKED_AT])
    shown = ", ".join([*values][:_SHOWN])
    return f"such as {shown}" + (f", {expected}" if expected else "")


def shown_value(value: pa.Scalar) -> str:
    """A value in quotes, cut where it is long."""
    try:
        text = str(value.as_py())
    except (ValueError, OverflowError):  # Python has no datetime of the year 55,000
        text = show_instant(value.cast(pa.int64()).as_py(), value.type.unit)
    return repr(text[:_CHARACTERS])
