"""A Feast repository in a folder of its own, with views that are not this project's."""

import os
import runpy
import subprocess
import sys
import traceback
from contextlib import chdir
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from click.testing import CliRunner
from feast import Entity, FeatureStore, FeatureView
from feast.cli.cli import cli

from cli.redis_process import RunningRedis
from tests.applying import declarations_of

# Feast's command, started in half the time.
FEAST = (sys.executable, "-P", "-m", "feast_fusion.feast_command")
DAY_0 = datetime(2024, 1, 1, tzinfo=UTC)

CONFIG = """
project: pages
provider: local
registry:
  registry_type: sql
  path: "sqlite:///{folder}/registry.db"
  serve_features_while_materializing: true
offline_store: {{type: {offline_store}}}
online_store: {online_store}
batch_engine:
  type: feast_fusion.history_engine.HistoryEngine
  batch_rows: {batch_rows}
  runner: {runner}
entity_key_serialization_version: 3
"""

# The transformation is steered by the environment, so one definition serves every failure.
DEFINITIONS = """
import inspect
from datetime import timedelta
from feast import BatchFeatureView, Entity, FeatureView, Field, FileSource, Project, ValueType
from feast.data_format import ParquetFormat
from feast.types import Array, Float32, Int64, String

project = Project(name="pages")
page = Entity(name="page", join_keys=["page_id"], value_type=ValueType.STRING)
pages = FileSource(
    name="pages", path="{folder}/pages.parquet", timestamp_field="event_timestamp",
    created_timestamp_column="created",
)
page_text = FeatureView(
    name="page_text", entities=[page], source=pages, online=False, ttl=timedelta(0),
    schema=[Field(name="body", dtype=String), Field(name="year", dtype=Int64)],
)


def embed(df):
    import os

    import numpy as np

    bodies = list(df["body"])
    with open(os.environ.get("UDF_LOG", os.devnull), "a") as log:
        log.writelines(body + "\\n" for body in bodies)
    if os.environ.get("UDF_RAISE_ON") in bodies:
        raise ValueError("the model refused a text")
    if os.environ.get("UDF_WAIT_ON") in bodies:
        open(os.environ["UDF_FIFO"]).read()  # until a writer has opened and closed it
    rows = [np.array([int(body.rsplit("-", 1)[-1]), 1, 2, 3], np.float32) for body in bodies]
    return df.assign(emb=rows, label=[f"{{year}}" for year in df["year"]])


page_vector = BatchFeatureView(
    name="page_vector", entities=[page], source=[page_text], mode="pandas", ttl=timedelta(0),
    sink_source=FileSource(
        name="page_vector_sink", path="{folder}/sinks/page_vector", file_format=ParquetFormat(),
        timestamp_field="event_timestamp", created_timestamp_column="created",
    ),
    online=True, offline=True, udf=embed, udf_string=inspect.getsource(embed),
    schema=[
        Field(name="emb", dtype=Array(Float32), vector_index=True, vector_length=4),
        Field(name="label", dtype=String),
    ],
)
"""


@dataclass(frozen=True)
class FeastRepo:
    """The folder, and the real commands and store on it."""

    folder: Path

    @property
    def sink(self) -> Path:
        return self.folder / "sinks" / "page_vector"

    @property
    def store(self) -> FeatureStore:
        return FeatureStore(repo_path=str(self.folder))

    def command(
        self, *arguments: str, fails: bool = False, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """`feast ARGUMENTS` in a process of its own; its exit code has to be as `fails` says."""
        done = subprocess.run(
            [*FEAST, *arguments],
            cwd=self.folder,
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        return done

    def here(
        self, *arguments: str, fails: bool = False, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """The same in this process, which need not import for seconds what is here."""
        command = ["--chdir", str(self.folder), *arguments]
        with declarations_of(self.folder), chdir(Path.cwd()):  # Feast leaves it in the repository
            said = CliRunner().invoke(cli, command, env=self.environment(**variables))
        raised = said.exception
        is_raised = raised is not None and not isinstance(raised, SystemExit)
        assert (is_raised or said.exit_code != 0) is fails, f"{said.output}{raised!r}"
        told = "".join(traceback.format_exception(raised)) if is_raised else ""
        return subprocess.CompletedProcess(command, said.exit_code, said.stdout, said.stderr + told)

    def store_apply(self) -> None:
        """`feast apply` without the seconds that a process of its own takes to start."""
        defined = runpy.run_path(str(self.folder / "definitions.py")).values()
        self.store.apply([each for each in defined if isinstance(each, Entity | FeatureView)])

    def environment(self, **variables: str) -> dict[str, str]:
        return os.environ | {"UDF_LOG": str(self.folder / "udf.log"), "IS_TEST": "True"} | variables

    def transformed(self) -> list[str]:
        """The texts that went through the transformation since the last call."""
        log = self.folder / "udf.log"
        found = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return found

    def write_pages(self, rows: list[dict[str, Any]]) -> None:
        write_pages(self.folder / "pages.parquet", rows)

    def stored(self) -> pl.DataFrame:
        """The sink, as any reader of Parquet sees it."""
        files = sorted(path for path in self.sink.glob("[!.]*.parquet"))
        return pl.concat([pl.read_parquet(path) for path in files])

    def watermark(self, view: str = "page_vector") -> datetime | None:
        """The end of the last materialization that the registry knows."""
        end: datetime | None = self.store.get_feature_view(view).most_recent_end_time
        return end

    def online(self, page_ids: list[str]) -> list[float | None]:
        """The first value of each page's vector online, which is the number in its text."""
        found = self.store.get_online_features(
            ["page_vector:emb"], [{"page_id": page_id} for page_id in page_ids]
        ).to_dict()["emb"]
        return [None if vector is None else vector[0] for vector in found]


def make_repo(
    folder: Path,
    *,
    online_store: str,
    offline_store: str = "duckdb",
    batch_rows: int = 10,
    runner: str = "{type: local}",
    definitions: str = DEFINITIONS,
) -> FeastRepo:
    """The repository in `folder`, not applied yet."""
    folder.mkdir(parents=True, exist_ok=True)
    config = CONFIG.format(
        folder=folder,
        online_store=online_store,
        offline_store=offline_store,
        batch_rows=batch_rows,
        runner=runner,
    )
    (folder / "feature_store.yaml").write_text(config)
    (folder / "definitions.py").write_text(definitions.format(folder=folder))
    return FeastRepo(folder)


def page(page_id: str, day: float, number: int, *, created: float | None = None) -> dict[str, Any]:
    """One version of a page; its text ends in `number`, which its vector starts with."""
    return {
        "page_id": page_id,
        "event_timestamp": DAY_0 + timedelta(days=day),
        "created": DAY_0 + timedelta(days=day if created is None else created),
        "body": f"text-{number}",
        "year": None if number % 3 == 0 else 1990 + number,
    }


def write_pages(path: Path, rows: list[dict[str, Any]]) -> None:
    times = pa.timestamp("us", tz="UTC")
    columns = {"page_id": pa.string(), "event_timestamp": times, "created": times}
    schema = pa.schema(columns | {"body": pa.string(), "year": pa.int64()})
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def day(number: float) -> str:
    """A day as the command line takes it."""
    return (DAY_0 + timedelta(days=number)).strftime("%Y-%m-%dT%H:%M:%S")


def redis_store(server: RunningRedis) -> str:
    return f'{{type: redis, connection_string: "{server.connection}"}}'
