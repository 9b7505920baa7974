"""The context of requests beside that of the events trained on: is it given at all?"""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from intake.context import context_column

_MIN_ROWS = 20
_MOST = 0.5  # by which the shares of absent values may differ


def find_lost_context(served: pa.Table, trained: pa.Table, columns: Sequence[str]) -> Iterator[str]:
    """A sentence for each column that requests seldom have and events often have.

    Its values cannot be recomputed: they are what the caller said. A column that callers leave out
    is null in every answer, while the ranker was trained on what it says.

    Parameters
    ----------
    served, trained : rows with the `context_column` of each of `columns`
    """
    if len(served) < _MIN_ROWS or not len(trained):
        return
    for name in columns:
        absent, usual = (
            table[context_column(name)].null_count / len(table) for table in (served, trained)
        )
        if absent - usual > _MOST:
            yield (
                f"context {name!r}: absent in {absent:.0%} of the served rows and {usual:.0%} of "
                "the training rows; give it with each request, or remove it from "
                "[interactions.context]."
            )
