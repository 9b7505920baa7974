"""What is around a request, as columns beside the features of its user."""

from collections.abc import Mapping, Sequence

from feast_fusion.training_set import TrainingSet
from intake.context import ContextColumns, Value, context_column

Context = Mapping[str, Value]
NOTHING: Context = {}
NO_WEIGHTS: Mapping[str, float] = {}


def with_context(
    rows: TrainingSet, columns: ContextColumns, contexts: Sequence[Context]
) -> TrainingSet:
    """The rows with the context of each, null where nothing is known, and the clock of its time.

    Training has the same columns, of the events.
    """
    table = rows.table
    clock = columns.clock_columns(table["event_timestamp"])
    for name, column in {**columns.columns(contexts), **clock}.items():
        table = table.append_column(context_column(name), column)
    return TrainingSet(table, rows.vectors, rows.lists)
