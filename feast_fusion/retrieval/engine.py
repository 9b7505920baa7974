"""Where a retrieval finds the rows that its labels see: `engine` of the offline store."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from feast.repo_config import FeastConfigBaseModel
from pyarrow import fs
from pydantic import Field

from feast_fusion.retrieval.asof_join import Newest
from feast_fusion.retrieval.entity_table import EntityTable
from feast_fusion.retrieval.feature_join import FeatureJoin


class LocalEngine(FeastConfigBaseModel):  # type: ignore[misc]
    """In this process."""

    type: Literal["local"] = "local"

    def newest(self, joins: Sequence[FeatureJoin], entities: EntityTable) -> Iterator[Newest]:
        """For each view the newest row of it that every entity row may see."""
        return (join.newest(entities) for join in joins)


class SparkEngine(FeastConfigBaseModel):  # type: ignore[misc]
    """On the workers of a Spark Connect server, Sail or Spark; needs the extra `spark`.

    Parameters
    ----------
    url : `sc://host:port`, or `local` for Sail in this process. The workers need Python with
        this version of feast-fusion, the same version of polars, the files of the sources at the
        same paths, and the credentials of object stores in their environment.
    rows_per_group : about how many labels and rows a worker matches at once at most, however
        many of them have one key
    """

    type: Literal["spark"]
    url: Annotated[str, Field(pattern=r"^(local|sc://.+)$")] = "local"
    rows_per_group: Annotated[int, Field(ge=2)] = 1_000_000

    def newest(self, joins: Sequence[FeatureJoin], entities: EntityTable) -> Iterator[Newest]:
        """For each view the newest row of it that every entity row may see."""
        from feast_fusion.retrieval.spark.matching import newest_on_spark

        return newest_on_spark(joins, entities, self.url, self.rows_per_group)

    def write(
        self,
        joins: Sequence[FeatureJoin],
        entities: EntityTable,
        filesystem: fs.FileSystem,
        folder: str,
    ) -> list[str]:
        """The result as Parquet files of `folder`, written by the workers; their paths."""
        from feast_fusion.retrieval.spark.writing import write_on_spark

        return write_on_spark(joins, entities, self.url, self.rows_per_group, filesystem, folder)


Engine = Annotated[LocalEngine | SparkEngine, Field(discriminator="type")]
