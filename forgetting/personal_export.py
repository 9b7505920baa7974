"""All that is kept of a person, as files that anybody can read."""

from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pyarrow as pa

from feast_fusion.errors import schema_error
from feast_fusion.files import digest_file, private_folder
from feast_fusion.sealed_json import write_json
from forgetting.case import Surroundings
from forgetting.places.list_of_places import kept_tables

MANIFEST = "manifest.json"


def export_person(place: Surroundings, user_id: str, folder: Path) -> dict[str, int]:
    """Write all that is kept of a user to a new folder; rows by file.

    For each place a sub-folder of JSON lines, a file for each table that has a row, and a manifest
    with rows and digests.

    Raises
    ------
    SchemaError
        There is something at `folder`.
    FeastFusionError
        A place cannot be reached or read; nothing is written.
    """
    if folder.exists():
        raise schema_error(
            str(folder), got="something there", expected="a new folder", remedy="Name another one."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as beside:
        building = private_folder(Path(beside) / folder.name)
        rows: dict[str, int] = {}
        for name, table in kept_tables(place, user_id):
            file = f"{name}.jsonl"
            _write(building / file, table)
            rows[file] = len(table)
        digests = {file: digest_file(building / file) for file in rows}
        write_json(building / MANIFEST, {"user_id": user_id, "rows": rows, "sha256": digests})
        building.rename(folder)
    return rows


def _write(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(table).write_ndjson(path)
