"""What the HTTP application stands on: the models, live events, and the encoder of texts."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from feast import FeatureStore

from intake.dataset import Dataset
from intake.event import EVENT_FORMAT
from intake.journal import Journal
from intake.posted.posted_row import ROW_FORMAT
from intake.tombstones import Tombstones
from intake.workspace import Workspace, with_encoders_anew
from serving.assembly import open_models
from serving.http.embeddings import TextEncoding
from serving.http.library_metrics import LibraryMetrics
from serving.live.event_intake import EventIntake
from serving.live.live_features import LiveFeatures
from serving.live.visit_rows import visit_rows
from serving.live_users import LiveUsers
from serving.posted.row_features import RowFeatures
from serving.posted.row_intake import RowIntake
from serving.posted.row_screening import RowScreening
from serving.served_log import ServedLog
from serving.served_models import ServedModels
from serving.user_search import UserSearch
from transformations.embedder import Embedder
from transformations.folded_rows import fold_posted

Library = tuple[
    ServedModels, EventIntake, RowIntake, UserSearch, TextEncoding, LibraryMetrics, Dataset
]


@contextmanager
def open_library(
    workspace: Workspace, store: FeatureStore, log_served: float = 0.0
) -> Iterator[Library]:
    """What the HTTP application stands on, warm; at the end accepted events are applied.

    Parameters
    ----------
    log_served : share of answers, 0 to 1, whose features are kept for the skew audit

    Raises
    ------
    FeatureNotFoundError
        As `open_models`.
    SchemaError, StoreUnavailableError
        The journal of live events is damaged, or its folder cannot be read.
    """
    with ExitStack() as stack:
        features = LiveFeatures.open(workspace, store)
        log = None
        if log_served:
            forgotten = Tombstones(workspace.forgotten)
            served = ServedLog(workspace.served, log_served, forgotten=forgotten)
            log = stack.enter_context(served)
        live = LiveUsers(
            features.acted_on,
            features.known_since,
            features.note_loss,
            lambda: features.may_be_older,
            features.follow,
            features.interest_of,
            lambda user_id: user_id in features.history.forgotten,
            partial(visit_rows, features),
        )
        models = stack.enter_context(open_models(workspace, store, live=live, served_log=log))
        intake = stack.enter_context(EventIntake(Journal(workspace.events, EVENT_FORMAT), features))
        rows = stack.enter_context(_open_rows(workspace, store, models, features))
        metrics = LibraryMetrics(workspace, store, models, log)
        encoding = TextEncoding(lambda: models.main.embedder)
        users = UserSearch(workspace, lambda: models.catalogue)
        yield models, intake, rows, users, encoding, metrics, workspace.dataset


def _open_rows(
    workspace: Workspace, store: FeatureStore, models: ServedModels, live: LiveFeatures
) -> RowIntake:
    others: dict[str, Embedder] = {}  # of encoders that no version reads yet

    def embedder_of(encoder_id: str) -> Embedder:
        for each in models.embedders:
            if each.identity.encoder_id == encoder_id:
                return each
        return others.setdefault(encoder_id, Embedder(with_encoders_anew(workspace), encoder_id))

    def take_up() -> None:
        models.read_sources()
        live.refresh()  # only then: see `NewestHistory`

    features = RowFeatures(store, embedder_of)
    return RowIntake(
        Journal(workspace.posted, ROW_FORMAT),
        RowScreening(workspace),
        partial(fold_posted, workspace, features.write, features.remove),
        take_up,
    )
