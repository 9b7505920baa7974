"""By what description of the data set the history of each view was computed.

A row of a history is known by its key and its instant, so one that follows a former dataset.toml
would stay: such a history is computed anew.
"""

import hashlib
import json
from collections.abc import Iterable

from feast_fusion.errors import SchemaError
from feast_fusion.files import replaced_file
from feast_fusion.sealed_json import read_json, write_json
from intake.preparation import describe_tables
from intake.workspace import Workspace


def former_histories(workspace: Workspace, views: Iterable[str]) -> list[str]:
    """The views whose history has rows by another description than that of now, or an unknown."""
    from feast_fusion.parquet.opening import has_rows  # seconds to import

    now, known = _digest(workspace), _read(workspace)
    others = [view for view in views if known.get(_place(workspace, view)) != now]
    return [view for view in others if has_rows(workspace.sink(view))]


def note_histories(workspace: Workspace, views: Iterable[str]) -> None:
    """Keep that every row in the history of these views follows the description of now."""
    places = [_place(workspace, view) for view in views]
    known = _read(workspace) | dict.fromkeys(places, _digest(workspace))
    with replaced_file(workspace.described) as path:
        write_json(path, {"by": known})


def _place(workspace: Workspace, view: str) -> str:
    """Where a history is; a folder goes by the view alone, for its home may move."""
    return view if workspace.tables is None else workspace.sink(view)


def _digest(workspace: Workspace) -> str:
    text = json.dumps(describe_tables(workspace.dataset), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(workspace: Workspace) -> dict[str, str]:
    try:
        found: dict[str, str] = read_json(workspace.described)["by"]
    except SchemaError:
        return {}  # none, or a damaged one: histories are computed once more
    return found
