"""The audit: every file of a workspace, every key of its Redis, every file of its tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from feast import FeatureStore

from feast_fusion.online.redis.client import store_address
from feast_fusion.parquet.whole import read_parquet
from feast_fusion.redis_matrix import online_store_of
from forgetting.audit.file_search import FileSearch
from forgetting.audit.needles import Needles
from forgetting.audit.redis_search import describe_key, search_redis
from forgetting.case import Surroundings
from intake.dataset import Dataset
from intake.tables.digest import table_files
from intake.workspace import Workspace
from transformations.names import ITEMS


@dataclass(frozen=True)
class Leftover:
    """Something that is left of a person: in which file or store, and where in it."""

    place: str
    where: str


@dataclass(frozen=True)
class AuditReport:
    """What was looked through, and what was found.

    Attributes
    ----------
    left_out : files below the home that were not: the data set's own tables
    """

    n_files: int
    n_bytes: int
    n_keys: int
    left_out: tuple[str, ...]
    leftovers: tuple[Leftover, ...]


def audit_person(
    place: Surroundings, user_id: str, texts: Sequence[str], digests: Sequence[bytes]
) -> AuditReport:
    """Whether anything is left of a person.

    Parameters
    ----------
    texts, digests : see `Needles`
    """
    needles = Needles(user_id, texts, digests, _is_shared(place.workspace, user_id))
    inputs = _inputs(place.workspace.dataset)
    files = [path for path in audited_files(place.workspace) if path.resolve() not in inputs]
    search = FileSearch(needles, place.open_snapshot)
    found = [Leftover(str(path), where) for path in files if (where := search.search(path))]
    n_keys, of_redis = _search_online(place.store, needles)
    of_tables = _search_tables(place.workspace.tables, search)
    below = sorted(path for path in inputs if path.is_relative_to(place.workspace.home))
    return AuditReport(
        len(files),
        sum(path.stat().st_size for path in files if path.exists()),
        n_keys,
        tuple(map(str, below)),
        (*found, *of_redis, *of_tables),
    )


def audited_files(workspace: Workspace) -> list[Path]:
    """All files of a workspace, and those of its home that no other data set has to itself."""
    others = [path for path in workspace.home.glob("*/") if _is_other(path, workspace)]
    found = sorted(path for path in workspace.home.rglob("*") if path.is_file())
    return [path for path in found if not any(path.is_relative_to(each) for each in others)]


def _is_other(folder: Path, workspace: Workspace) -> bool:
    is_workspace = (folder / workspace.sources.name).exists() or (folder / "events").exists()
    return folder != workspace.root and is_workspace


def _inputs(dataset: Dataset) -> set[Path]:
    """The data set's own tables and description, which are not ours to change."""
    sections = (dataset.items, dataset.users, dataset.interactions)
    tables = (table_files(section) for section in sections if section is not None)
    return {path.resolve() for files in tables for path in files} | {dataset.path.resolve()}


def _search_online(store: FeatureStore | None, needles: Needles) -> tuple[int, list[Leftover]]:
    if store is None:
        return 0, []
    with online_store_of(store).scanning(store.config) as client:
        n_keys, found = search_redis(client, needles)
    address = store_address(store.config.online_store)
    return n_keys, [Leftover(f"Redis {address}", describe_key(key)) for key in found]


def _search_tables(tables: str | None, search: FileSearch) -> list[Leftover]:
    if tables is None:
        return []
    from forgetting.audit.iceberg_search import search_tables  # an extra

    return [Leftover(place, where) for place, where in search_tables(tables, search)]


def _is_shared(workspace: Workspace, user_id: str) -> bool:
    """Whether something of the items is called so, too."""
    path = workspace.source(ITEMS)
    if not path.is_file():
        return False
    items = pl.DataFrame(read_parquet(path, ["item_id"]))
    return bool((items["item_id"] == user_id).any())
