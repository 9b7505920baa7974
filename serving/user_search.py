"""Users by the beginning of their ids: of the prepared tables, and who came by an event since."""

from collections.abc import Callable, Collection

import numpy as np
import pyarrow as pa

from feast_fusion.errors import SchemaError
from feast_fusion.parquet.whole import read_parquet
from intake.event import EVENT_FORMAT
from intake.event_types import without_history
from intake.journal_index import JournalIndex
from intake.tombstones import Tombstones
from intake.workspace import Workspace
from serving.catalogue import Catalogue
from transformations.id_map import IdMap
from transformations.names import INTERACTIONS, USERS


class UserSearch:
    """Finds users, whichever process took their events. For one thread.

    Parameters
    ----------
    catalogue : the items as they are now
    """

    def __init__(self, workspace: Workspace, catalogue: Callable[[], Catalogue]) -> None:
        self._workspace, self._catalogue = workspace, catalogue
        self._index = JournalIndex(workspace.events, EVENT_FORMAT)
        self._forgotten = Tombstones(workspace.forgotten)
        self._examples_only = without_history(workspace.dataset.interactions.types)
        self._stamp: tuple[int, int] | None = None
        self._prepared = IdMap.of([])
        self._live: set[str] = set()
        self._read: dict[str, int] = {}  # how much of each file of the journal both of them have

    def beginning(self, prefix: str, n: int) -> list[tuple[str, int]]:
        """At most `n` users whose id begins so, with how many items each has had an event with.

        The shortest ids come first, so that "1" finds 1, 10, 11 and not 1, 10, 100. Items that are
        no longer in the catalogue are not counted.

        Raises
        ------
        StoreUnavailableError, SchemaError
            The journal cannot be read.
        """
        self._read_sources()
        self._read_journal()
        live = (each for each in self._live if each.startswith(prefix))
        found = {*live, *self._prepared.beginning(prefix, n)}
        known = [each for each in found if each not in self._forgotten]
        best = sorted(known, key=lambda each: (len(each), each))[:n]
        return list(zip(best, self._count_items(best), strict=True))

    def _read_sources(self) -> None:
        """Take up the users of a newer preparation, once it is complete."""
        workspace, stamp = self._workspace, self._workspace.read_stamp()
        if stamp in (None, self._stamp):
            return
        paths = [workspace.source(name) for name in (INTERACTIONS, USERS)]
        try:
            tables = [read_parquet(path, ["user_id"]) for path in paths if path.is_file()]
            self._read = workspace.read_prepared_journal()
        except (OSError, SchemaError):
            return
        self._prepared = IdMap.of(pa.concat_tables(tables)["user_id"])
        self._stamp, self._live = stamp, set()

    def _read_journal(self) -> None:
        read = dict(self._read)
        for events in self._index.pieces_behind(self._read, read):
            self._live.update(event.user_id for event in events)
        self._read = read

    def _count_items(self, user_ids: Collection[str]) -> list[int]:
        catalogue = self._catalogue()
        live: dict[str, list[str]] = {each: [] for each in user_ids}
        for event in self._index.records_of([("user", each) for each in user_ids], {}):
            if event.event_type not in self._examples_only:
                live[event.user_id].append(event.item_id)
        rows = ((catalogue.seen.of(each), catalogue.rows_of(live[each])) for each in user_ids)
        return [len(np.union1d(*each)) for each in rows]
