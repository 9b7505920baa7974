"""The recommenders of the versions that are promoted, exchanged without a stop when others are."""

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

from feast_fusion.errors import FeatureNotFoundError
from serving.answers import Recommendations
from serving.catalogue import Catalogue
from serving.catalogue_watch import CatalogueWatch
from serving.recommender import Recommender
from serving.shadow_scoring import ShadowScoring
from training.promotions import Promoted, Promotions
from transformations.embedder import Embedder

_log = logging.getLogger(__name__)

# How much less often a version is tried that could not be loaded: loading takes from answers.
_PATIENCE = 5


@dataclass(frozen=True)
class OpenModel:
    """A recommender, and the watch of its catalogue."""

    recommender: Recommender
    watch: CatalogueWatch


Open = Callable[[str], AbstractContextManager[OpenModel]]


@dataclass(frozen=True)
class _Answering:
    """What answers at one time: a whole that is exchanged at once."""

    promoted: Promoted
    models: Mapping[str, OpenModel]
    closing: Mapping[str, ExitStack]


class ServedModels(AbstractContextManager["ServedModels"]):
    """Answers each user by the version that `Promotions` has for the user.

    A promotion is taken up within `refresh_s` and the time that the version takes to load; the
    versions before answer until then. A version that cannot be loaded is left out with a warning,
    and tried again. Answers under way when a version leaves are finished by it.

    Parameters
    ----------
    open_model : opens a version by its name
    refresh_s : how often the promotions are looked at

    Raises
    ------
    FeatureNotFoundError
        Nothing is promoted.
    """

    def __init__(self, promotions: Promotions, open_model: Open, *, refresh_s: float = 1.0) -> None:
        self._promotions, self._open, self._refresh_s = promotions, open_model, refresh_s
        self.is_behind = False
        if not promotions.names():
            promotions.follow()  # later ones are taken up while others answer
        self._stamp = promotions.read_stamp()
        self._answering = self._opened(promotions.read(), {}, {})
        self.shadowed = ShadowScoring()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="models", daemon=True)
        self._thread.start()

    @property
    def promoted(self) -> Promoted:
        """The versions that answer."""
        return self._answering.promoted

    @property
    def main(self) -> Recommender:
        """The recommender of most users, for what is the same for all."""
        answering = self._answering
        return answering.models[answering.promoted.main].recommender

    @property
    def prepared(self) -> tuple[int, int] | None:
        """The stamp of the oldest preparation that an answer may be made from."""
        stamps = [model.watch.prepared for model in self._answering.models.values()]
        return None if None in stamps else min(stamp for stamp in stamps if stamp is not None)

    @property
    def embedders(self) -> list[Embedder]:
        """Of the encoders of the versions that answer."""
        return [model.recommender.embedder for model in self._answering.models.values()]

    def read_sources(self) -> None:
        """Let all versions answer from the sources as they are now; raises as their catalogues."""
        for model in self._answering.models.values():
            model.watch.refresh()

    @property
    def catalogue(self) -> Catalogue:
        """The items as the main version has them now."""
        answering = self._answering
        return answering.models[answering.promoted.main].watch.current

    def of(self, user_id: str, version: str | None = None) -> Recommender:
        """The recommender of a user, or of a version.

        Raises
        ------
        FeatureNotFoundError
            The version does not answer here, nor is it the shadow.
        """
        answering = self._answering
        name = version or answering.promoted.version_of(user_id)
        found = answering.models.get(name)
        if found is None:
            expected = " or ".join(sorted(answering.models))
            raise FeatureNotFoundError(
                f"model: got a version that is not promoted, expected {expected}, or none. "
                "feast-fusion models list has all; promote one to ask it."
            )
        return found.recommender

    def recommend(
        self, user_id: str, n: int, *, version: str | None = None, **options: Any
    ) -> Recommendations:
        """As `Recommender.recommend`, which the shadow is asked too, unless a version is named."""
        answering = self._answering
        answer = self.of(user_id, version).recommend(user_id, n, **options)
        if answering.promoted.shadow is not None and version is None:
            shadow = answering.models[answering.promoted.shadow].recommender
            self.shadowed.offer(lambda: shadow.recommend(user_id, n, **options), answer)
        return answer

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()
        self.shadowed.close()
        for stack in self._answering.closing.values():
            stack.close()

    def refresh(self) -> bool:
        """Take up what was promoted since; whether anything was."""
        self._promotions.follow()
        stamp = self._promotions.read_stamp()
        if stamp is None or stamp == self._stamp:
            return False
        before = self._answering
        promoted = self._promotions.read()
        after = self._opened(promoted, before.models, before.closing)
        self._answering, self._stamp = after, stamp
        for name in before.models.keys() - after.models.keys():
            before.closing[name].close()  # its catalogue is looked after no longer, but stays
        return True

    def _watch(self) -> None:
        while not self._closed.wait(self._refresh_s * (_PATIENCE if self.is_behind else 1)):
            try:
                if self.refresh():
                    _log.info("models: %s answers now", self.promoted)
                self.is_behind = False
            except Exception as error:  # whatever a version lacks: those before go on
                if not self.is_behind:
                    _log.error("models: kept %s, could not load: %s", self.promoted, error)
                self.is_behind = True

    def _opened(
        self, promoted: Promoted, models: Mapping[str, OpenModel], closing: Mapping[str, ExitStack]
    ) -> _Answering:
        """What answers after a promotion: new versions are loaded, and warm; others stay."""
        with ExitStack() as failed:
            opened, stacks = {}, {}
            for name in promoted.names - models.keys():
                stacks[name] = failed.enter_context(ExitStack())
                opened[name] = stacks[name].enter_context(self._open(name))
                opened[name].recommender.warm_up()
            failed.pop_all()
        kept = promoted.names & models.keys()
        return _Answering(
            promoted,
            {**{name: models[name] for name in kept}, **opened},
            {**{name: closing[name] for name in kept}, **stacks},
        )
