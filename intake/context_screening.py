"""The context columns of an interactions file, as a training set and a request have them."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feast_fusion.errors import schema_error
from intake.context import ContextColumns, context_column
from intake.outliers import LARGEST
from intake.screening import Screening


def add_context(found: Screening, columns: ContextColumns) -> None:
    """Adds the declared columns to what was found: numbers as float64, categories as strings.

    Infinite numbers and those beyond `LARGEST` become null.

    Raises
    ------
    SchemaError
        A column is of a type that cannot be used.
    """
    for name in columns.numeric:
        found.columns[context_column(name)] = _numbers(found, name)
    for name in columns.categorical:
        is_truth = pa.types.is_boolean(found.table[name].type)
        texts = found.table[name].cast(pa.string()) if is_truth else found.as_strings(name)
        whole = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
        found.columns[context_column(name)] = whole


def _numbers(found: Screening, name: str) -> pa.Array:
    column = found.table[name]
    try:
        numbers = np.asarray(pc.fill_null(column.cast(pa.float64(), safe=False), np.nan))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise schema_error(
            f"{found.where}: column {name!r}",
            got=f"{column.type}, such as {pc.drop_null(column)[0].as_py()!r}",
            expected="numbers, as numeric of [interactions.context] says",
            remedy="Name it in categorical of [interactions.context].",
        ) from error
    is_usable = np.abs(numbers) <= LARGEST  # false for NaN
    return pa.array(np.where(is_usable, numbers, np.nan), from_pandas=True)
