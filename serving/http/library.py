"""What the HTTP application stands on: the models, live events, and the encoder of texts."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from feast import FeatureStore

from intake.event import EVENT_FORMAT
from intake.journal import Journal
from intake.workspace import Workspace
from serving.assembly import open_models
from serving.http.embeddings import TextEncoding
from serving.http.library_metrics import LibraryMetrics
from serving.live.event_intake import EventIntake
from serving.live.live_features import LiveFeatures
from serving.live_users import LiveUsers
from serving.served_log import ServedLog
from serving.served_models import ServedModels

Library = tuple[ServedModels, EventIntake, TextEncoding, LibraryMetrics]


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
            log = stack.enter_context(ServedLog(workspace.served, log_served))
        live = LiveUsers(
            features.acted_on,
            features.known_since,
            features.note_loss,
            lambda: features.may_be_older,
            features.follow,
            features.interest_of,
        )
        models = stack.enter_context(open_models(workspace, store, live=live, served_log=log))
        intake = stack.enter_context(EventIntake(Journal(workspace.events, EVENT_FORMAT), features))
        metrics = LibraryMetrics(workspace, store, models, log)
        yield models, intake, TextEncoding(lambda: models.main.embedder), metrics
