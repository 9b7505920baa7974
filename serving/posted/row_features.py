"""Posted rows into the stores: profiles, and what models make of them, by Feast's own views."""

from collections.abc import Callable, Iterator
from typing import Any

from feast import FeatureStore

from feast_fusion.history.derivation import derive
from intake.posted.posted_row import Table
from serving.online_views import OnlineViews
from transformations import names
from transformations.embedder import Embedder
from transformations.folded_rows import TouchedRows

_PROFILES: dict[Table, str] = {"items": names.ITEM_PROFILE, "users": names.USER_PROFILE}


class RowFeatures:
    """Writes the features of posted rows, as materializing them would.

    Parameters
    ----------
    embedder_of : the embedder of an encoder id: its texts are encoded before the transformation
        asks for them, so that this process loads no second model
    """

    def __init__(self, store: FeatureStore, embedder_of: Callable[[str], Embedder]) -> None:
        self._store, self._embedder_of = store, embedder_of
        self._online = OnlineViews(store)

    def write(self, touched: TouchedRows) -> None:
        """Bring all versions of the touched items and users into the history and online.

        Raises
        ------
        StoreUnavailableError
            A store or an encoder does not answer. The same once more completes it.
        """
        self._store.refresh_registry()  # views of another encoder may be newer than what is cached
        engine = self._store._get_provider().batch_engine
        for name, profile in _PROFILES.items():
            rows = touched.versions.get(name)
            if rows:
                for view in self._views_on(profile):
                    if (encoder_id := view.tags.get("encoder_id")) is not None:
                        self._embedder_of(encoder_id).items(rows)
                    engine.add_rows(view, rows)

    def remove(self, touched: TouchedRows) -> None:
        """Take withdrawn items out of the online store; raises as `write`."""
        self._online.remove(names.ITEM_PROFILE, touched.gone)

    def _views_on(self, profile: str) -> Iterator[Any]:
        """The view of that name, then those that are derived from it."""
        views = [*self._store.list_feature_views(), *self._store.list_batch_feature_views()]
        by_name = {view.name: view for view in views}
        for view in sorted(by_name.values(), key=lambda view: view.name != profile):
            if derive(view, self._store.config).origin.name == profile:
                yield view
