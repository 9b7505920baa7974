"""What one task reads: rows of a source by our own reader, or labels that came with the task."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO

import polars as pl
from pyarrow import fs

from feast_fusion.parquet.parquet_file import ParquetFile, read_footer
from feast_fusion.parquet.parquet_source import ParquetSource
from feast_fusion.retrieval.key_rows import KeyRows

PART_ROWS = 1 << 18


@dataclass(frozen=True)
class FileName:
    """A file of a source without its footer, which a worker reads itself.

    Parameters
    ----------
    stamp : what tells that the file is still the one that the source was opened with
    first : position of the file's first row in the source
    """

    filesystem: fs.FileSystem
    path: str
    stamp: tuple[int, int]
    partition: dict[str, str | None]
    first: int

    def open(self) -> ParquetFile:
        """The file; who reads rows of one that took its place gets a StoreUnavailableError."""
        info = self.filesystem.get_file_info(self.path)
        return replace(read_footer(self.filesystem, info, self.partition), stamp=self.stamp)


def file_names(source: ParquetSource) -> list[FileName]:
    """The files of `source`."""
    return [
        FileName(file.filesystem, file.path, file.stamp, file.partition, first)
        for file, first in zip(source.files, source.starts.tolist(), strict=False)
    ]


@dataclass(frozen=True)
class RowPart:
    """Row groups of one file of a source."""

    file: FileName
    groups: tuple[int, ...]

    def frame(self, rows: KeyRows, window: tuple[int, int]) -> pl.DataFrame:
        """Those rows of the part that have keys and a time within `window`, as `KeyRows.read`.

        Raises
        ------
        StoreUnavailableError
            Another file took the place of this one.
        """
        alone = replace(rows, source=replace(rows.source, files=(self.file.open(),)))
        found = alone.read(window, self.groups).drop_nulls([*rows.names, "ts"])
        return found.with_columns(pl.col("position") + self.file.first)


def row_parts(source: ParquetSource) -> Iterator[RowPart]:
    """Parts of `source`, of about `PART_ROWS` rows where its row groups are smaller."""
    for name, file in zip(file_names(source), source.files, strict=True):
        for groups in _runs(file):
            yield RowPart(name, tuple(groups))


def _runs(file: ParquetFile) -> Iterator[list[int]]:
    run: list[int] = []
    n_rows = 0
    for group in file.groups:
        if run and n_rows + group.n_rows > PART_ROWS:
            yield run
            run, n_rows = [], 0
        run.append(group.number)
        n_rows += group.n_rows
    if run:
        yield run


@dataclass(frozen=True)
class LabelPart:
    """Labels, sent with the task."""

    labels: bytes

    def frame(self, rows: KeyRows, window: tuple[int, int]) -> pl.DataFrame:
        """The key columns, `t` and `row`."""
        return unpacked(self.labels)

    def staged(self, filesystem: fs.FileSystem, path: str) -> "StagedLabels":
        """The same, in a file at `path`."""
        with filesystem.open_output_stream(path) as stream:
            stream.write(self.labels)
        return StagedLabels(filesystem, path)


@dataclass(frozen=True)
class StagedLabels:
    """Labels in a file that the workers reach: a message to Spark has no place for many."""

    filesystem: fs.FileSystem
    path: str

    def frame(self, rows: KeyRows, window: tuple[int, int]) -> pl.DataFrame:
        """The key columns, `t` and `row`."""
        with self.filesystem.open_input_stream(self.path) as stream:
            return unpacked(stream.read())


def label_parts(labels: pl.DataFrame, keys: list[str]) -> Iterator[LabelPart]:
    """Parts of `labels` that can see a row, each with its `row`."""
    usable = labels.with_columns(row=pl.int_range(pl.len())).drop_nulls([*keys, "t"])
    for part in usable.iter_slices(PART_ROWS):
        yield LabelPart(packed(part))


def packed(frame: pl.DataFrame) -> bytes:
    """A frame as one value of a Spark column, so that Spark need not know its types."""
    buffer = BytesIO()
    frame.write_ipc_stream(buffer, compression="zstd")
    return buffer.getvalue()


def unpacked(value: bytes) -> pl.DataFrame:
    """The frame in `value`."""
    return pl.read_ipc_stream(value)
