"""The people that are forgotten in one run, and where."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureStore
from numpy.typing import NDArray
from redis import Redis

from forgetting.evidence import Evidence
from forgetting.pending_requests import Request, Requests
from intake.workspace import Workspace


@dataclass(frozen=True)
class Surroundings:
    """Where a data set is kept.

    Attributes
    ----------
    store : Feast on it; None where nothing was applied yet
    shared_vectors : a place for vectors of several machines; None without
    open_snapshot : a Redis that has what a snapshot file has, while it is open
    """

    workspace: Workspace
    store: FeatureStore | None
    shared_vectors: str | None
    open_snapshot: Callable[[Path], AbstractContextManager[Redis]]


@dataclass
class Case:
    """The people that one run forgets.

    Attributes
    ----------
    people : the requests by user id, with what is known by now
    """

    place: Surroundings
    requests: Requests
    people: dict[str, Request] = field(default_factory=dict)

    @property
    def workspace(self) -> Workspace:
        """Of the data set."""
        return self.place.workspace

    def evidence(self, user_id: str) -> Evidence:
        """What is known of a user."""
        return self.people[user_id].evidence or Evidence()

    def note(self, user_id: str, **found: object) -> None:
        """Keep what is known of a user, safe from a loss of power, before it is erased."""
        evidence = self.evidence(user_id).model_copy(update=found)
        self.people[user_id] = self.people[user_id].model_copy(update={"evidence": evidence})
        self.requests.keep(self.people[user_id])

    def is_theirs(self, user_ids: pa.Array | pa.ChunkedArray) -> NDArray[np.bool_]:
        """(n,) which of n ids, strings or whole numbers, are of these people; null is none."""
        ids = pa.array(list(self.people), pa.string())
        return np.asarray(pc.is_in(user_ids.cast(pa.string()), value_set=ids))

    def keys(self, name: str) -> Sequence[bytes]:
        """Of vectors of a cache that only these people have."""
        found = [self.evidence(user_id).vectors.get(name, ()) for user_id in self.people]
        return [bytes.fromhex(key) for keys in found for key in keys]
