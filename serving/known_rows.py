"""What the online store has lost: rows that this process has seen there, and sees no longer."""

import random
import threading
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime

from feast_fusion.errors import StoreUnavailableError
from serving.catalogue import Catalogue
from serving.live_users import LiveUsers
from serving.online_features import ITEM, OnlineFeatures, UserFeatures, views_of_each
from transformations import names

_MAX_USERS = 100_000
_MOST_POPULAR = 3
_SAMPLE = 128  # users, and as many items, whose rows are looked at again and again
_TOLERATED = 0.01  # of the sample: somebody may have deleted a user

Views = frozenset[str]


class KnownRows:
    """The views in which users, and a sample of users and items, had rows. Safe for many threads.

    Where `key_ttl_seconds` lets rows end, there is nothing to know.
    """

    def __init__(self, features: OnlineFeatures, live: LiveUsers) -> None:
        self._features, self._live = features, live
        self._lock = threading.Lock()
        self._users: OrderedDict[str, Views] = OrderedDict()
        self._sampled: Catalogue | None = None
        self._sample: tuple[list[str], list[str]] = ([], [])
        self._expected: list[Views] = []

    def is_whole(self, user: UserFeatures, catalogue: Catalogue, since: int | None) -> bool:
        """Whether the store has of a user what it had, and nothing older than `since`.

        What is missing or older is noted with the live users.

        Parameters
        ----------
        since : how new the user's recent items are at least, microseconds; None where no live event
            says it
        """
        if self._live.is_forgotten(user.user_id):
            return True
        user = user.stored or user
        if self._features.keys_expire and not user.has_left:
            return True
        if since is None and user.user_id in catalogue.seen.users:
            since = 0
        found = user.since(names.USER_RECENT)
        is_older = since is not None and found is not None and found < since
        if is_older or user.has_left:
            self._live.note_loss(user.user_id, user.has_left)
            return False
        return self._has_views(user)

    def _has_views(self, user: UserFeatures) -> bool:
        """Whether the user has a row in each view that had one when the user was last whole."""
        (found,) = views_of_each(user.views)
        with self._lock:
            known = self._users.get(user.user_id, Views())
            if not found >= known:
                return False
            if found:
                self._users[user.user_id] = found
                self._users.move_to_end(user.user_id)
                if len(self._users) > _MAX_USERS:
                    self._users.popitem(last=False)
            return True

    def check(self, catalogue: Catalogue, now: datetime) -> None:
        """Look at the rows of the sample, which is drawn anew for each catalogue.

        Raises
        ------
        StoreUnavailableError
            The online store does not answer in time, has none of the most popular items, as after
            a restart without its data, or more than one row in a hundred is gone.
        """
        items = catalogue.item_ids[:_MOST_POPULAR]
        if items and not any(self._features.are_there(ITEM, items)):
            raise StoreUnavailableError(
                f"online store: got no row of {', '.join(items)}, expected rows of the most "
                "popular items. Run feast materialize."
            )
        if self._features.keys_expire:
            return
        if catalogue is not self._sampled:
            self._sample = (
                _draw(catalogue.seen.users.ids.to_pylist()),
                _draw(catalogue.item_ids),
            )
            self._expected, self._sampled = [], catalogue
            self._leave_out_forgotten()
        groups = self._features.read_all(*self._sample, now)
        found = [views for group in groups for views in views_of_each(group)]
        expected = self._expected or found
        gone = [not new >= old for new, old in zip(found, expected, strict=True)]
        # the rows of who was forgotten are gone on purpose
        n_gone = sum(gone) - sum(
            is_gone and self._live.is_forgotten(user_id)
            for user_id, is_gone in zip(self._sample[0], gone, strict=False)
        )
        self._expected = [new | old for new, old in zip(found, expected, strict=True)]
        if n_gone > _TOLERATED * len(found):
            raise StoreUnavailableError(
                f"online store: got no longer all rows of {n_gone} of {len(found)} users and "
                "items, expected what was there before. Run feast-fusion refresh full; if it "
                "happens again, look at maxmemory-policy of Redis."
            )

    def _leave_out_forgotten(self) -> None:
        with self._lock:
            for user_id in [each for each in self._users if self._live.is_forgotten(each)]:
                del self._users[user_id]


def _draw(ids: Sequence[str]) -> list[str]:
    return random.sample(list(ids), min(_SAMPLE, len(ids)))
