"""The newest row of each label, found on the workers of a Spark Connect server."""

import pickle
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
from pyarrow import fs

from feast_fusion.retrieval.asof_join import ABSENT, Newest
from feast_fusion.retrieval.entity_table import EntityTable
from feast_fusion.retrieval.feature_join import FeatureJoin
from feast_fusion.retrieval.spark.parts import PART_ROWS, label_parts, row_parts, unpacked
from feast_fusion.retrieval.spark.ranges import RANGE, Edges
from feast_fusion.retrieval.spark.session import LOCAL, spark_session
from feast_fusion.retrieval.spark.tasks import MATCHED, PLACED, SAMPLED, Part, ViewTasks

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_PLACES_PER_RANGE = 64  # sampled, so that the rows of ranges differ by an eighth


def newest_on_spark(
    joins: Sequence[FeatureJoin], entities: EntityTable, url: str, rows_per_group: int
) -> Iterator[Newest]:
    """For each view the same as `FeatureJoin.newest`, by the Spark Connect server at `url`.

    Parameters
    ----------
    rows_per_group : about how many labels and rows a worker matches at once at most

    Raises
    ------
    MissingExtraError, StoreUnavailableError, SchemaError
        As `spark_session` and `FeatureJoin.newest`.
    """
    with spark_session(url) as spark:
        for join in joins:
            with TemporaryDirectory() as folder:
                place = (fs.LocalFileSystem(), folder) if url == LOCAL else None
                frame = matched_frame(spark, join, entities, rows_per_group, place)
                yield _newest(frame, len(entities))


def _newest(frame: "DataFrame | None", n_labels: int) -> Newest:
    found = np.full(n_labels, ABSENT, np.int64)
    if frame is None:
        return Newest(found, 0)
    matched = frame.toArrow()
    for value in matched.column("payload"):
        pairs = unpacked(value.as_py())
        found[pairs["row"].to_numpy()] = pairs["position"].to_numpy()
    return Newest(found, sum(matched.column("n_hidden").to_pylist()))


def matched_frame(
    spark: "SparkSession",
    join: FeatureJoin,
    entities: EntityTable,
    rows_per_group: int,
    place: tuple[fs.FileSystem, str] | None,
) -> "DataFrame | None":
    """What `ViewTasks.match` finds for all labels; None where no label has a time.

    Parameters
    ----------
    place : a folder for labels that the workers reach; without it labels go with the tasks, of
        which a server takes some 100 MB
    """
    labels, rows, window = join.labels(entities), join.key_rows, join.window(entities)
    if window is None:
        return None
    tasks = ViewTasks(replace(rows, source=replace(rows.source, files=())), window, join.rule)
    asked = (
        part if place is None else part.staged(place[0], f"{place[1]}/{uuid.uuid4().hex}")
        for part in label_parts(labels, rows.names)
    )
    parts = _sent(spark, [*asked, *row_parts(rows.source)])
    parts = parts.repartition(1 + (len(labels) + rows.source.n_rows) // PART_ROWS)
    edges = _edges(parts, tasks, rows_per_group // 2)  # half, lest a range by chance exceeds it
    placed = parts.mapInArrow(tasks.place(edges), PLACED)
    return placed.groupBy(RANGE).applyInArrow(tasks.match(), MATCHED)


def _sent(spark: "SparkSession", parts: Sequence[Part]) -> "DataFrame":
    column = pa.array([pickle.dumps(part) for part in parts], pa.binary())
    return spark.createDataFrame(pa.table({"part": column}))


def _edges(parts: "DataFrame", tasks: ViewTasks, rows_per_range: int) -> Edges:
    one_in = max(1, rows_per_range // _PLACES_PER_RANGE)
    sampled = parts.mapInArrow(tasks.sample(one_in), SAMPLED).toArrow()
    places = pl.concat(unpacked(value.as_py()) for value in sampled.column("payload"))
    return Edges.between(places, max(1, rows_per_range // one_in))
