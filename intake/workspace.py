"""Where one data set's files live at run time, and nothing else."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from feast_fusion.errors import schema_error
from feast_fusion.sealed_json import read_json
from intake.dataset import Dataset
from intake.dataset_file import load_dataset


@dataclass(frozen=True)
class Workspace:
    """The folder `<home>/<data-set name>` and the places in it. Creates nothing.

    Parameters
    ----------
    tables : `iceberg://CATALOG/NAMESPACE`, where the sinks are tables; None is folders in `sinks`
    shared_models : folder or URL by which hosts share trained versions; None where none are shared
    encoder_host : Unix socket of the process that encodes for this one, see `EncoderHost`; None
        where this process loads what it needs
    """

    dataset: Dataset
    home: Path
    tables: str | None = None
    shared_models: str | None = None
    encoder_host: Path | None = None

    @property
    def root(self) -> Path:
        """Everything of this data set."""
        return self.home / self.dataset.name

    @property
    def sources(self) -> Path:
        """Prepared point-in-time sources, one Parquet file each, and `rejects/`."""
        return self.root / "sources"

    def source(self, name: str) -> Path:
        """The prepared source of that name."""
        return self.sources / f"{name}.parquet"

    @property
    def manifest(self) -> Path:
        """What the sources were prepared from, as JSON; it changes with every preparation."""
        return self.sources / "prepared.json"

    def read_stamp(self) -> tuple[int, int] | None:
        """What changes with every preparation: time and inode of the manifest; None without one."""
        try:
            found = self.manifest.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino

    def read_prepared_journal(self) -> dict[str, int]:
        """By file of the journal, how many of its bytes are in the sources; {} if none is known."""
        prepared: dict[str, int] = read_json(self.manifest).get("journal", {})
        return prepared

    @property
    def events(self) -> Path:
        """The journal of live events (`intake.journal`), which prepare folds in."""
        return self.root / "events"

    @property
    def ingested(self) -> Path:
        """How far `feast-fusion ingest` has come, and the rows that it could not use."""
        return self.root / "ingested"

    @property
    def posted(self) -> Path:
        """The journal of posted items and users (`intake.posted`), which prepare folds in."""
        return self.root / "posted"

    @property
    def written_rows(self) -> Path:
        """How much of that journal is in the stores, as JSON."""
        return self.posted / "written.json"

    def read_withdrawn(self) -> dict[str, list[int]]:
        """When items of the sources were withdrawn, microseconds since the epoch."""
        withdrawn: dict[str, list[int]] = read_json(self.manifest).get("withdrawn", {})
        return withdrawn

    @property
    def forgotten(self) -> Path:
        """Who was forgotten (`intake.tombstones`), and the receipts of it."""
        return self.root / "forgotten"

    @property
    def served(self) -> Path:
        """Features as they were served, of a share of the requests, which audit skew checks."""
        return self.root / "served"

    @property
    def sinks(self) -> Path:
        """Offline history written by batch transformations, one Parquet folder per view."""
        return self.root / "sinks"

    def sink(self, view: str) -> str:
        """Where the history of a view lies: a folder in `sinks`, or the name of a table."""
        return str(self.sinks / view) if self.tables is None else f"{self.tables}.{view}"

    @property
    def described(self) -> Path:
        """By what description each history was computed, as JSON (`intake.described_histories`)."""
        return self.root / "described.json"

    def graphs(self, encoder_id: str) -> Path:
        """Graphs of the items' newest vectors, which serving makes and may be deleted."""
        return self.root / "graphs" / encoder_id

    @property
    def registry(self) -> Path:
        """Feast's SQL registry (SQLite)."""
        return self.root / "registry.db"

    @property
    def vectors(self) -> Path:
        """The vector cache, shared by all data sets of this home."""
        return self.home / "vectors"

    @property
    def servers(self) -> Path:
        """Vectors by which the servers of encoders are recognised, of all data sets of this home.

        Apart from `vectors`, which may be deleted without harm.
        """
        return self.home / "servers"

    @property
    def writings(self) -> Path:
        """What writers wrote about texts, shared by all data sets of this home."""
        return self.home / "writings"

    @property
    def training_set(self) -> Path:
        """The last training set built."""
        return self.root / "training_set"

    def training_set_of(self, candidate: str | None) -> Path:
        """The same, on vectors of a candidate, by its encoder id; None is the main encoder."""
        return self.training_set if candidate is None else self.root / "training_sets" / candidate

    @property
    def models(self) -> Path:
        """A folder per trained version of the model."""
        return self.root / "models"

    @property
    def promoted(self) -> Path:
        """Which versions of the model answer."""
        return self.models / "promoted.json"

    @property
    def checkpoints(self) -> Path:
        """Where a training stands that is not finished."""
        return self.root / "checkpoints"

    @property
    def tuned_encoder(self) -> Path:
        """The encoder adapted to this data set, a model folder."""
        return self.root / "tuned_encoder"

    @property
    def encoder_checkpoints(self) -> Path:
        """Where a tuning of the encoder stands that is not finished."""
        return self.root / "encoder_checkpoints"

    @property
    def runs(self) -> Path:
        """A folder per training run, which TensorBoard reads."""
        return self.root / "runs"

    @property
    def tuning(self) -> Path:
        """The trials of `feast-fusion tune` (SQLite)."""
        return self.root / "tuning.db"

    @property
    def summary(self) -> Path:
        """Numbers of the last `run`."""
        return self.root / "summary.json"

    @property
    def report(self) -> Path:
        """The page of the last `run`."""
        return self.root / "report.html"

    @property
    def redis(self) -> Path:
        """State of the embedded Redis."""
        return self.root / "redis"


def open_workspace(
    dataset: str | Path,
    home: str | Path,
    tables: str | None = None,
    shared_models: str | None = None,
) -> Workspace:
    """The workspace of the data set described at `dataset` under `home` (both made absolute).

    Raises
    ------
    SchemaError
        `tables` names no namespace of an Iceberg catalogue.
    """
    if tables is not None and not re.fullmatch(r"iceberg://[^/]+/[^/]+", tables):
        raise schema_error(
            "FUSION_TABLES",
            got=tables,
            expected="iceberg://CATALOG/NAMESPACE",
            remedy="Correct it, or unset it to keep sinks in folders.",
        )
    root = Path(home).expanduser().resolve()
    return Workspace(load_dataset(dataset), root, tables, shared_models)


def with_encoders_anew(workspace: Workspace) -> Workspace:
    """The workspace with the encoders that dataset.toml declares now; the rest stays as it was."""
    declared = load_dataset(workspace.dataset.path)
    dataset = workspace.dataset.model_copy(update={"encoder": declared.encoder})
    return replace(workspace, dataset=dataset)
