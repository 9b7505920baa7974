"""Rows taken out of the folder of a sink for good, whatever view wrote them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock
from numpy.typing import NDArray

from feast_fusion.files import recover_folder, replaced_folder, sync_path
from feast_fusion.history.folder_sink import link_file, writer_lock
from feast_fusion.parquet.location import retired_path
from feast_fusion.parquet.parts import renamed_part, write_file

# Which of n values of a column are of rows that go.
IsErased = Callable[[pa.ChunkedArray], NDArray[np.bool_]]


def erase_rows(folder: Path, column: str, is_erased: IsErased) -> int:
    """Write files of a sink anew without some rows; how many those were.

    A file without such rows stays as it is. Files that others took the place of are removed.
    One process at a time writes to a sink: this one waits for the others.
    """
    with FileLock(writer_lock(folder)):
        recover_folder(folder)
        files = sorted(path for path in folder.rglob("*.parquet") if path.is_file())
        current = [path for path in files if path.parent.name != Path(retired_path("")).name]
        marked = {path: _marks(path, column, is_erased) for path in current}
        n_erased = sum(int(marks.sum()) for marks in marked.values())
        if n_erased or len(current) < len(files):
            with replaced_folder(folder) as building:
                for path, marks in marked.items():
                    _keep(path, building / path.relative_to(folder), marks)
                sync_path(building)
    return n_erased


def _marks(path: Path, column: str, is_erased: IsErased) -> NDArray[np.bool_]:
    """(n,) which rows of a file go; (0,) where it has no such column."""
    if column not in pq.read_schema(path).names:
        return np.zeros(0, dtype=np.bool_)
    return is_erased(pq.read_table(path, columns=[column])[column])


def _keep(path: Path, name: Path, marks: NDArray[np.bool_]) -> None:
    name.parent.mkdir(parents=True, exist_ok=True)
    if not marks.any():
        link_file(path, name)
    else:  # under another name, so that readers notice
        table = pq.ParquetFile(path).read()
        write_file(renamed_part(name), table.filter(pa.array(~marks)), sync=True)
