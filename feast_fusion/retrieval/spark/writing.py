"""A retrieval whose result the workers write: no process holds more than a part of its values."""

import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import reduce

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from feast_fusion.errors import StoreUnavailableError
from feast_fusion.parquet.location import SUFFIXES
from feast_fusion.retrieval.entity_table import EntityTable
from feast_fusion.retrieval.feature_join import FeatureJoin
from feast_fusion.retrieval.spark.matching import matched_frame
from feast_fusion.retrieval.spark.parts import file_names
from feast_fusion.retrieval.spark.result_tasks import (
    ENTITIES,
    RESULT_ROWS,
    SPLIT,
    WRITTEN,
    ViewValues,
    split,
    write_part,
)
from feast_fusion.retrieval.spark.session import spark_session


def write_on_spark(
    joins: Sequence[FeatureJoin],
    entities: EntityTable,
    url: str,
    rows_per_group: int,
    filesystem: fs.FileSystem,
    folder: str,
) -> list[str]:
    """Write the result as the Parquet files of `folder`, in the place of those that are there.

    The paths of the files, whose names have the order of the entity rows. They come from a
    hidden folder beside them, one by one, when all of them are written.

    Parameters
    ----------
    entities : at least one row

    Raises
    ------
    MissingExtraError, StoreUnavailableError, SchemaError
        As `newest_on_spark`, and of what is read for values. The folder is then as it was.
    """
    with _staging(filesystem, folder) as place:
        with filesystem.open_output_stream(f"{place}/{ENTITIES}") as stream:
            pq.write_table(entities.table, stream, row_group_size=RESULT_ROWS)
        views = [
            ViewValues(
                replace(join, source=replace(join.source, files=())),
                tuple(file_names(join.source)),
            )
            for join in joins
        ]
        n_parts = -(-len(entities) // RESULT_ROWS)
        with spark_session(url) as spark:
            every_part = {
                "part": range(n_parts),
                "view": [-1] * n_parts,
                "n_hidden": [0] * n_parts,
                "payload": [b""] * n_parts,
            }
            frames = [spark.createDataFrame(pa.table(every_part))]
            for view, join in enumerate(joins):
                found = matched_frame(spark, join, entities, rows_per_group, (filesystem, place))
                if found is not None:
                    frames.append(found.mapInArrow(split(view), SPLIT))
            pairs = reduce(lambda one, other: one.union(other), frames)
            write = write_part(views, filesystem, place)
            written = pairs.groupBy("part").applyInArrow(write, WRITTEN).toArrow().to_pylist()
        n_hidden = Counter[int]()
        for cell in written:
            n_hidden[cell["view"]] += cell["n_hidden"]
        n_rows = sum(cell["n_rows"] for cell in written)
        if n_rows != len(entities):
            raise StoreUnavailableError(
                f"{folder}: got {n_rows} rows from {url}, expected {len(entities)}. Nothing was "
                "written: do the same again."
            )
        for view, join in enumerate(joins):
            join.warn_of_hidden(n_hidden[view], len(entities))
        return _committed(filesystem, folder, place, n_parts)


@contextmanager
def _staging(filesystem: fs.FileSystem, folder: str) -> Iterator[str]:
    """A hidden place in `folder`, removed at the end."""
    place = f"{folder}/_{uuid.uuid4().hex}"
    filesystem.create_dir(place, recursive=True)
    try:
        yield place
    finally:
        filesystem.delete_dir(place)


def _committed(filesystem: fs.FileSystem, folder: str, place: str, n_parts: int) -> list[str]:
    inside = filesystem.get_file_info(fs.FileSelector(folder, recursive=True))
    earlier = [i.path for i in inside if i.path.endswith(SUFFIXES) and place not in i.path]
    run = place.rpartition("_")[2][:8]
    paths = [f"{folder}/part-{part:010d}-{run}.parquet" for part in range(n_parts)]
    for part, path in enumerate(paths):
        filesystem.move(f"{place}/{part:010d}.parquet", path)
    for path in earlier:
        filesystem.delete_file(path)
    return paths
