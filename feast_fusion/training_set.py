"""A training set that keeps each distinct vector once: rows point into matrices by index."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from feast_fusion.errors import schema_error
from feast_fusion.files import recover_folder, replaced_folder
from feast_fusion.pandas_rows import to_frame
from feast_fusion.training_set_files import (
    map_list,
    map_table,
    verified_manifest,
    write_manifest,
    write_table,
)
from feast_fusion.training_set_store import copy_of, fetch, is_remote, upload

if TYPE_CHECKING:
    from feast_fusion.torch_rows import TorchRows

_T = TypeVar("_T")


@dataclass(frozen=True)
class Indexed:
    """One list feature of many rows: the value of a row is `values[index[row]]`, -1 is absent.

    Parameters
    ----------
    values : for a vector feature a C-contiguous matrix `(n_distinct, d)` float32; for any other
        list feature an Arrow list array of `n_distinct` lists, none of them null
    index : `(n_rows,)` int32 into `values`; -1 where the row has no value
    """

    values: NDArray[np.float32] | pa.ListArray
    index: NDArray[np.int32]

    def __post_init__(self) -> None:
        if self.index.dtype != np.int32 or self.index.ndim != 1:
            raise schema_error(
                "index",
                got=f"{self.index.dtype} of shape {self.index.shape}",
                expected="int32 of shape (n_rows,)",
                remedy="Convert it with astype(np.int32).",
            )
        if not isinstance(self.values, np.ndarray):
            return
        if self.values.dtype != np.float32 or self.values.ndim != 2:
            raise schema_error(
                "values",
                got=f"{self.values.dtype} of shape {self.values.shape}",
                expected="float32 of shape (n_distinct, d)",
                remedy="Pass a matrix, or an Arrow list array for lists of varying length.",
            )

    def __len__(self) -> int:
        return len(self.index)

    @property
    def present(self) -> NDArray[np.bool_]:
        """`(n_rows,)` bool: whether the row has a value."""
        return self.index >= 0


@dataclass(frozen=True)
class TrainingSet:
    """Rows of entity columns, labels and features, in the order of the entity table.

    Parameters
    ----------
    table : `n_rows` of entity columns, label columns and scalar features
    vectors : vector features by name: fixed width, float32; features of one view share one index
    lists : every other list feature by name

    Raises
    ------
    SchemaError
        A feature has not `n_rows` rows, or a name occurs twice.
    """

    table: pa.Table
    vectors: Mapping[str, Indexed]
    lists: Mapping[str, Indexed]

    def __post_init__(self) -> None:
        repeated = sorted(name for name, n in Counter(self.names).items() if n > 1)
        if repeated:
            raise schema_error(
                "training set",
                got=f"the name {repeated[0]!r} more than once",
                expected="each name once",
                remedy="Retrieve with full_feature_names=True, or rename.",
            )
        for name, column in {**self.vectors, **self.lists}.items():
            if len(column) != self.table.num_rows:
                raise schema_error(
                    f"training set, feature {name!r}",
                    got=f"{len(column)} rows",
                    expected=f"{self.table.num_rows}, as the table has",
                    remedy="Give every feature an index over all rows.",
                )

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def names(self) -> list[str]:
        """Every column and feature."""
        return [*self.table.column_names, *self.vectors, *self.lists]

    def take(self, rows: NDArray[np.int64]) -> "TrainingSet":
        """The given rows, in the given order; the matrices are shared, not copied."""
        take = _once_per_array(lambda index: index[rows])
        return TrainingSet(
            self.table.take(pa.array(rows, pa.int64())),
            {name: Indexed(c.values, take(c.index)) for name, c in self.vectors.items()},
            {name: Indexed(c.values, take(c.index)) for name, c in self.lists.items()},
        )

    def without_unused(self) -> "TrainingSet":
        """The same rows on values of lists that a row has: `take` leaves the others there."""
        used = _once_per_array(lambda index: np.unique(index[index >= 0]))
        places: dict[int, NDArray[np.int32]] = {}

        def compact(column: Indexed) -> Indexed:
            kept, index = used(column.index), column.index
            if id(index) not in places:
                at = np.searchsorted(kept, index).astype(np.int32)
                places[id(index)] = np.where(index >= 0, at, np.int32(-1))
            is_matrix = isinstance(column.values, np.ndarray)
            values = column.values[kept] if is_matrix else column.values.take(pa.array(kept))
            return Indexed(values, places[id(index)])

        vectors = {name: compact(column) for name, column in self.vectors.items()}
        return TrainingSet(self.table, vectors, {n: compact(c) for n, c in self.lists.items()})

    def rename(self, mapping: Mapping[str, str]) -> "TrainingSet":
        """The same data under other names; a name that is not in `mapping` stays.

        Raises
        ------
        SchemaError
            `mapping` names something that is not there, or two things get the same name.
        """
        unknown = sorted(mapping.keys() - set(self.names))
        if unknown:
            expected = f"one of {sorted(self.names)}"
            raise schema_error("rename", got=unknown[0], expected=expected, remedy="Correct it.")
        return TrainingSet(
            self.table.rename_columns([mapping.get(n, n) for n in self.table.column_names]),
            {mapping.get(name, name): column for name, column in self.vectors.items()},
            {mapping.get(name, name): column for name, column in self.lists.items()},
        )

    def to_arrow(self) -> pa.Table:
        """Everything as one table, each list laid out once per row: for small sets."""
        table = self.table
        for name, column in {**self.vectors, **self.lists}.items():
            values = column.values
            if isinstance(values, np.ndarray):
                values = pa.FixedSizeListArray.from_arrays(
                    pa.array(values.reshape(-1)), max(1, values.shape[1])
                ).cast(pa.list_(pa.float32()))
            index = pa.array(column.index, mask=column.index < 0)
            table = table.append_column(name, values.take(index))
        return table

    def to_pandas(self) -> pd.DataFrame:
        """Everything as one frame; rows with the same list share one array.

        A list is a numpy array, None where absent. Integers with nulls stay integers (`Int64`).
        """
        return to_frame(self.table, {**self.vectors, **self.lists})

    def torch_dataset(self) -> "TorchRows":
        """The rows for a PyTorch `DataLoader`; needs the package torch."""
        from feast_fusion.torch_rows import TorchRows

        return TorchRows(self)

    def save(self, folder: str | Path) -> str | Path:
        """Write to `folder`, replacing what is there; it appears complete or not at all.

        A URI such as `s3://bucket/folder` is a place that pyarrow writes to.
        """
        if is_remote(folder):
            with TemporaryDirectory() as local:
                upload(Path(self.save(Path(local) / "set")), str(folder))
            return folder
        folder = Path(folder).expanduser().absolute()
        with replaced_folder(folder) as building:
            write_table(building / "table.arrow", self.table)
            files = _once_per_array(partial(_save_index, building, count()))
            manifest = {
                "n_rows": len(self),
                "vectors": [
                    _save_vectors(building, i, name, column, files(column.index))
                    for i, (name, column) in enumerate(self.vectors.items())
                ],
                "lists": [
                    _save_lists(building, i, name, column, files(column.index))
                    for i, (name, column) in enumerate(self.lists.items())
                ],
            }
            write_manifest(building, manifest)
        return folder

    @classmethod
    def open(cls, folder: str | Path) -> "TrainingSet":
        """The training set saved in `folder`, memory-mapped.

        Of a URI there is a copy in the user's cache, which is made once: a set may be larger than
        the memory.
        Each file is read once for its digest, half a second per GB: Arrow ends the process where
        it meets an offset that is damaged.

        Raises
        ------
        SchemaError
            The folder is not a saved training set or is of another format, or a file is missing
            or damaged.
        StoreUnavailableError
            There is none at the URI.
        """
        if is_remote(folder):
            uri, folder = str(folder), copy_of(str(folder))
            manifest = fetch(uri, folder)
        else:
            folder = Path(folder).expanduser().absolute()
            recover_folder(folder)
            manifest = verified_manifest(folder)
        load = cache(lambda name: np.load(folder / name, mmap_mode="r", allow_pickle=False))
        return cls(
            map_table(folder / "table.arrow"),
            {
                entry["name"]: Indexed(load(entry["values"]), load(entry["index"]))
                for entry in manifest["vectors"]
            },
            {
                entry["name"]: Indexed(map_list(folder / entry["values"]), load(entry["index"]))
                for entry in manifest["lists"]
            },
        )


def _save_index(folder: Path, numbers: Iterator[int], index: NDArray[np.int32]) -> str:
    name = f"index-{next(numbers)}.npy"
    np.save(folder / name, index)
    return name


def _save_vectors(
    folder: Path, i: int, name: str, column: Indexed, index: str
) -> dict[str, str | list[int]]:
    values = f"vectors-{i}.npy"
    np.save(folder / values, np.ascontiguousarray(column.values))
    return {"name": name, "values": values, "index": index, "shape": list(column.values.shape)}


def _save_lists(folder: Path, i: int, name: str, column: Indexed, index: str) -> dict[str, str]:
    values = f"lists-{i}.arrow"
    table = pa.table({"values": column.values})
    write_table(folder / values, table)
    return {"name": name, "values": values, "index": index, "type": str(table.schema.field(0).type)}


def _once_per_array(
    function: Callable[[NDArray[np.int32]], _T],
) -> Callable[[NDArray[np.int32]], _T]:
    """`function` that runs once per array object, so that shared arrays stay shared."""
    known: dict[int, _T] = {}

    def apply(array: NDArray[np.int32]) -> _T:
        if id(array) not in known:
            known[id(array)] = function(array)
        return known[id(array)]

    return apply
