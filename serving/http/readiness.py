"""Whether the service is ready, found out by a real read of the online store."""

import asyncio
from functools import partial

from feast_fusion.errors import StoreUnavailableError
from serving.http.work_queue import DeadlineExceededError, WorkQueue
from serving.live.event_intake import EventIntake
from serving.served_models import ServedModels

_DEADLINE_S = 2.0


class Readiness:
    """One probe at a time for all who ask: probes must not pile up on a store that hangs."""

    def __init__(self, models: ServedModels, intake: EventIntake, queue: WorkQueue) -> None:
        self._models, self._intake, self._queue = models, intake, queue
        self._probe: asyncio.Task[None] | None = None

    async def missing(self) -> str | None:
        """What is missing for whole answers and for events; None where nothing is."""
        if self._probe is None or self._probe.done():
            check = partial(self._queue.run, _DEADLINE_S, self._check)
            self._probe = asyncio.create_task(check())
        try:
            await asyncio.shield(self._probe)
        except (DeadlineExceededError, StoreUnavailableError) as error:
            return str(error)
        return None

    def _check(self) -> None:
        self._models.main.check()
        self._intake.check()
