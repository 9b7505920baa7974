"""Says so when a source has rows and none of them in the window that was asked for."""

import logging
from datetime import datetime

from feast_fusion.parquet.parquet_source import ParquetSource
from feast_fusion.times import from_micros

_log = logging.getLogger(__name__)


def warn_of_rows_outside(
    source: ParquetSource, timestamp: str, window: tuple[int, int], *, goes_on: bool = False
) -> None:
    """Warn that no row of `source` is in `window`, microseconds, with the times that it has.

    Call it when none was found: a wrong unit or zone then shows, and does not end as nothing.

    goes_on : whether earlier rows have had their turn, so that only later ones are worth a word
    """
    span = source.span(timestamp)
    if span is None or (goes_on and span[1] < window[0]):
        return
    _log.warning(
        "%s: none of its %d rows is in the window from %s to %s; their %s is from %s to %s",
        source.what,
        source.n_rows,
        _text(window[0]),
        _text(window[1]),
        timestamp,
        _text(span[0]),
        _text(span[1]),
    )


def _text(micros: int) -> str:
    try:
        return from_micros(micros).isoformat()
    except OverflowError:  # a time that Python's datetime cannot hold, as of a wrong unit
        return f"{micros} microseconds after {datetime(1970, 1, 1).date()}"
