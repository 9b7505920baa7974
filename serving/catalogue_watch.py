"""The catalogue, loaded anew in the background when what it was made of has changed."""

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from functools import partial

from feast import FeatureStore

from feast_fusion.feature_service import encoder_of, open_service
from feast_fusion.parquet.opening import read_version
from intake.workspace import Workspace
from serving.catalogue import Catalogue, item_sink, load_catalogue
from serving.graph.graph_watch import GraphWatch
from training.next_item.model import NextItemModel

Clock = Callable[[], datetime]

_log = logging.getLogger(__name__)

# What a catalogue was made of: the preparation's manifest, and the version of the sink.
Stamp = tuple[int, int, tuple[str, ...]]


class CatalogueWatch(AbstractContextManager["CatalogueWatch"]):
    """Holds the newest catalogue: `current` is always whole, and replaced at once.

    Parameters
    ----------
    service : names the features of items
    model : orders the items
    clock : the time at which the catalogue is read
    refresh_s : how often files are looked at

    Raises
    ------
    FeatureNotFoundError
        Nothing was prepared.
    """

    def __init__(
        self,
        workspace: Workspace,
        store: FeatureStore,
        service: str,
        model: NextItemModel,
        *,
        clock: Clock,
        refresh_s: float = 2.0,
    ) -> None:
        self._workspace, self._clock = workspace, clock
        self._read = partial(load_catalogue, workspace, store, service, model)
        encoder_id = encoder_of(open_service(store, service))
        self._sink = item_sink(workspace, encoder_id)
        self._graphs = None if encoder_id is None else GraphWatch(workspace.graphs(encoder_id))
        self._refresh_s = refresh_s
        self._loading = threading.Lock()
        self._stamp = self._read_stamp()
        self.current = self._load()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="catalogue", daemon=True)
        self._thread.start()

    @property
    def prepared(self) -> tuple[int, int] | None:
        """The stamp of the preparation that `current` was read from, or of an older one."""
        return None if self._stamp is None else self._stamp[:2]

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop looking for changes; `current` stays."""
        self._closed.set()
        self._thread.join()
        if self._graphs is not None:
            self._graphs.close()

    def refresh(self) -> bool:
        """Load the catalogue if its files have changed; whether it was loaded.

        The stamp is taken before loading, so a change meanwhile is found the next time.
        """
        with self._loading:
            stamp = self._read_stamp()
            if stamp is None or stamp == self._stamp:
                return False
            self.current = self._load()
            self._stamp = stamp
            return True

    def _watch(self) -> None:
        while not self._closed.wait(self._refresh_s):
            try:
                if self.refresh():
                    _log.info("catalogue: loaded again, %d items", len(self.current))
                else:
                    self.current = self._placed(self.current)
            except Exception as error:  # files half replaced: the old one serves, then the next
                _log.warning("catalogue: kept the old one, could not load the new one: %s", error)

    def _load(self) -> Catalogue:
        return self._placed(self._read(self._clock()))

    def _placed(self, catalogue: Catalogue) -> Catalogue:
        if self._graphs is None:
            return catalogue
        index = self._graphs.place(catalogue.index, catalogue.item_ids)
        return catalogue if index is catalogue.index else replace(catalogue, index=index)

    def _read_stamp(self) -> Stamp | None:
        """None while a preparation is replacing the sources."""
        prepared = self._workspace.read_stamp()
        if prepared is None:
            return None
        return *prepared, read_version(self._sink) if self._sink else ()
