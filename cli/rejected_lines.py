"""What could not be used of the files of a data set, as lines for people."""

from collections.abc import Mapping
from pathlib import Path

from intake.screening import FORGOTTEN


def rejected_lines(
    rejects: Mapping[str, Mapping[str, int]],
    examples: Mapping[str, Mapping[str, str]],
    folder: Path | None = None,
) -> list[str]:
    """A line per reason, with examples, and after those of a table the file that has its rows.

    Parameters
    ----------
    rejects, examples : as a `ValidationReport` has them
    folder : where the rejected rows were written; None where they were not kept
    """
    lines = []
    for table, reasons in rejects.items():
        for reason, n in reasons.items():
            example = examples[table].get(reason)
            said = f"{reason}, {example}" if example else reason
            lines.append(f"Rejected {n:,} rows of {table}: {said}.")
        if folder is not None and {*reasons} - {FORGOTTEN}:
            lines.append(f"They are in {folder / f'{table}.parquet'}, each with its reason.")
    return lines
