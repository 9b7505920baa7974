"""From the three files of a data set to its prepared point-in-time sources, all or nothing."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock

from feast_fusion.errors import SchemaError, schema_error
from feast_fusion.files import digest_file, private_folder, recover_folder, replaced_folder
from feast_fusion.sealed_json import read_json, write_json
from feast_fusion.times import to_micros
from intake.dataset import Dataset
from intake.event import EVENT_FORMAT
from intake.event_types import without_history
from intake.journal_content import JournalContent, read_content
from intake.posted.posted_row import ROW_FORMAT, known_rows
from intake.preparation import Preparation, describe_preparation
from intake.tombstones import Tombstones
from intake.validation import ValidatedData, validate_dataset
from intake.workspace import Workspace
from transformations import names
from transformations.activity import ActivityTable, build_activity
from transformations.collaborative.item_factors import build_item_factors
from transformations.collaborative.neighbour_fit import build_item_neighbours
from transformations.collaborative.prepared_log import build_events
from transformations.collaborative.versions import Spread
from transformations.embedder import require_server
from transformations.fingerprint import fingerprint_inputs
from transformations.source_files import Progress, whole_table, write_table

_REPORTED = ("read", "rejects", "examples", "notes", "users_without_profile", "rows")


@dataclass(frozen=True)
class SourcesReport:
    """What `write_sources` did.

    Attributes
    ----------
    read, rejects, examples, notes, users_without_profile : as in `ValidationReport`
    rows : rows per prepared source
    seconds : how long it took
    is_unchanged : the inputs were the same as last time and their sources are whole, so nothing
        was written
    """

    read: dict[str, int]
    rejects: dict[str, dict[str, int]]
    examples: dict[str, dict[str, str]]
    notes: list[str]
    users_without_profile: int
    rows: dict[str, int]
    seconds: float
    is_unchanged: bool


def write_sources(
    workspace: Workspace,
    *,
    now: datetime | None = None,
    progress: Progress | None = None,
    spread: Spread = map,
) -> SourcesReport:
    """Validates the data set and writes its sources to `workspace.sources`.

    The events of the journal are folded in: they become interactions like the rows of the file,
    so that training sees what serving saw. So are posted items and users, as further versions.
    Users who were forgotten are left out.

    The sources are items, users (where there is a table of users), interactions, and the tables of
    `build_activity`, each a file `<name>.parquet`. All appear together, and an interrupted run
    leaves the old ones. Nothing is done when the files, what dataset.toml says of them, and
    `SOURCES_VERSION` are the same as last time, and what was written is undamaged. Rejected rows
    go to `rejects/`, also when validation fails. The server of the encoder is asked first, where
    there is one.

    Parameters
    ----------
    now : aware time after which a row lies in the future; the clock's if not given
    progress : called with the name of a source, its rows written so far, and its rows in all
    spread : who fits the versions of the collaborative models; what it raises ends the run

    Raises
    ------
    SchemaError
        As `validate_dataset`.
    StoreUnavailableError, EncoderMismatchError
        As `require_server`.
    """
    began = time.perf_counter()
    now = now or datetime.now(UTC)
    private_folder(workspace.home)
    workspace.root.mkdir(exist_ok=True)
    with FileLock(workspace.root / "sources.lock"):
        recover_folder(workspace.sources)
        journal = read_content(workspace.events, EVENT_FORMAT)
        posted = read_content(workspace.posted, ROW_FORMAT)
        gone = Tombstones(workspace.forgotten).digests
        made_from = describe_preparation(workspace)
        fingerprint = fingerprint_inputs(
            workspace.dataset, made_from.tables, journal.records, posted.records, gone
        )
        manifest = _read_manifest(workspace)
        is_unchanged = manifest is not None and _still_holds(manifest, fingerprint, now)
        if manifest is None or not is_unchanged:
            require_server(workspace)
            told = progress or (lambda *_: None)
            manifest = _prepare(
                workspace, journal, posted, made_from, fingerprint, now, told, spread
            )
    report = {name: manifest[name] for name in _REPORTED}
    return SourcesReport(**report, seconds=time.perf_counter() - began, is_unchanged=is_unchanged)


def _prepare(
    workspace: Workspace,
    journal: JournalContent,
    posted: JournalContent,
    made_from: Preparation,
    fingerprint: str,
    now: datetime,
    progress: Progress,
    spread: Spread,
) -> dict[str, Any]:
    dataset, sources = workspace.dataset, workspace.sources
    forgotten = Tombstones(workspace.forgotten)
    data = validate_dataset(
        dataset,
        sources / "rejects",
        journal=journal.records,
        posted=known_rows(ROW_FORMAT.to_records(posted.records), forgotten),
        forgotten=forgotten,
        now=now,
    )
    rows = {}
    with replaced_folder(sources) as building:
        for table in _tables(dataset, data, spread):
            write_table(building / workspace.source(table.name).name, table, progress)
            rows[table.name] = table.n_rows
        (sources / "rejects").rename(building / "rejects")
        written = sorted(building.rglob("*.parquet"))
        digests = {str(path.relative_to(building)): digest_file(path) for path in written}
        manifest = {
            **asdict(data.report),
            "fingerprint": fingerprint,
            "preparation": made_from.model_dump(mode="json"),
            "rows": rows,
            "sha256": digests,
            "journal": _prepared_bytes(journal, now),
            "posted": posted.ends,
            "withdrawn": data.withdrawn,
        }
        write_json(building / workspace.manifest.name, manifest)
    return manifest


def _prepared_bytes(journal: JournalContent, now: datetime) -> dict[str, int]:
    """By file of the journal, how much of it is prepared; none while an event lies ahead of now."""
    newest = pc.max(journal.records["event_timestamp"].cast(pa.int64())).as_py()
    return {} if newest is not None and newest > to_micros(now) else journal.ends


def _tables(dataset: Dataset, data: ValidatedData, spread: Spread) -> Iterator[ActivityTable]:
    yield whole_table(names.ITEMS, data.items, "item_id", "event_timestamp")
    if data.users is not None:
        yield whole_table(names.USERS, data.users, "user_id", "event_timestamp")
    history, examples = _by_use(dataset, data.interactions)
    yield whole_table(names.INTERACTIONS, history, *names.EVENT_ORDER)
    if examples is not None:
        yield whole_table(names.EXAMPLES, examples, *names.EVENT_ORDER)
    yield from build_activity(dataset, data.items, history)
    events = build_events(data.items, history)
    every = dataset.candidates.refit_every
    newest = min(dataset.candidates.history, dataset.activity.history)
    yield build_item_neighbours(events, every, newest, spread)
    yield build_item_factors(events, every, spread)


def _by_use(dataset: Dataset, events: pa.Table) -> tuple[pa.Table, pa.Table | None]:
    """The events that are history, and those that are examples only; None without such a type."""
    names_of_types = without_history(dataset.interactions.types)
    if not names_of_types:
        return events, None
    if "event_type" not in events.column_names:
        return events, events.slice(0, 0)
    is_example = pc.is_in(events["event_type"], value_set=pa.array(names_of_types, pa.string()))
    history = events.filter(pc.invert(is_example))
    if not len(history):
        raise schema_error(
            f"{dataset.interactions.where}",
            got=f"events of {', '.join(map(repr, names_of_types))} only",
            expected="also events of a type that is history",
            remedy="Remove history = false from [interactions.types], or bring such events.",
        )
    return history, events.filter(is_example)


def _read_manifest(workspace: Workspace) -> dict[str, Any] | None:
    """What was prepared; None where nothing was, or a file of it is missing or damaged."""
    try:
        manifest = read_json(workspace.manifest)
    except SchemaError:
        return None
    for name, digest in manifest["sha256"].items():
        path = workspace.sources / name
        if not path.is_file() or digest_file(path) != digest:
            return None
    return manifest


def _still_holds(manifest: dict[str, Any], fingerprint: str, now: datetime) -> bool:
    until = manifest["valid_until"]
    is_due = until is not None and now >= datetime.fromisoformat(until)
    return manifest["fingerprint"] == fingerprint and not is_due
