"""Computes the whole history of a derived view anew, for when its past has changed.

A run of the engine adds what a sink lacks and changes no row. An event that arrives late alters
rows that are there already: the state after each later event of that user. A rebuild takes the
rows of the source as they are now and puts what they give in the place of the sink.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from feast_fusion.errors import schema_error
from feast_fusion.history.derivation import derive
from feast_fusion.history.pending_rows import PendingRows
from feast_fusion.history.runner import Runner

_ALWAYS = (datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC))


def rebuild_sink(
    view: Any,
    repo_config: Any,
    offline_store: Any,
    batch_rows: int,
    runner: Runner,
    advance: Callable[[int], object] = lambda n_rows: None,
) -> int:
    """Replace the sink of `view` by its source's rows through its transformation; how many.

    The old sink stays until the new one is complete, so a run that fails or is killed changes
    nothing. Rows that the source no longer has are gone afterwards.

    Parameters
    ----------
    advance : called with the rows of each finished batch

    Raises
    ------
    SchemaError
        The view has no history of its own.
    """
    derivation = derive(view, repo_config)
    sink = derivation.sink
    if sink is None:
        raise schema_error(
            f"Feature view {view.name!r}",
            got="a view without a sink",
            expected="a batch feature view with offline=True and a sink_source",
            remedy="Only derived history can be computed anew.",
        )
    with sink.locked(), sink.replacement() as new:
        rows = derivation.open_rows(repo_config, offline_store, _ALWAYS)
        pending = PendingRows(derivation, rows, new, _ALWAYS)
        return runner.complete(pending, batch_rows, advance)
