"""The users of requests: what the store has of them, after their visits, and what they have had."""

from collections.abc import Iterable, Sequence

from feast_fusion.training_set import TrainingSet
from serving.live_users import LiveUsers
from serving.online_features import OnlineFeatures, UserFeatures
from serving.request import Request
from serving.visit import Visited, with_visit

_MOST = 32
# Users times items that are scored together, by some ten signals each.
_SCORES = 1 << 16


class RequestedUsers:
    """Reads users for one recommender. Safe for many threads.

    Parameters
    ----------
    repeats : whether what a user has had may be recommended again
    """

    def __init__(self, features: OnlineFeatures, live: LiveUsers, *, repeats: bool) -> None:
        self._features, self._live, self._repeats = features, live, repeats

    def excluded(
        self, user_id: str, exclude: Iterable[str] = (), session: Sequence[Visited] = ()
    ) -> set[str]:
        """What a caller excludes, and, without repeats, the live items; before the catalogue."""
        if self._repeats:
            return {*exclude}
        return {*exclude, *self._live.acted_on(user_id), *(each.item_id for each in session)}

    def had(self, user: UserFeatures) -> set[str]:
        """The recent items of a user that do not come back; none with repeats."""
        return set() if self._repeats else user.recent_items

    def after_visit(self, request: Request, user: UserFeatures) -> UserFeatures:
        """The user's features after the visit that a request tells of."""
        if not request.visit:
            return user
        rows = self._live.rows_after(request.user_id, request.visit)
        return with_visit(user, rows, self._features.encoder_id)

    def read(self, requests: Sequence[Request]) -> tuple[list[UserFeatures], TrainingSet]:
        """The user of each request, and a row with the features of each.

        Several are read in one round trip; of a user who is visiting the request is the only one.

        Raises
        ------
        StoreUnavailableError
            Redis does not answer in time.
        """
        first = requests[0]
        if first.visit:
            user = self.after_visit(first, self._features.read_user(first.user_id))
            return [user], self._features.user_row(user, first.now)
        return self._features.read_users([each.user_id for each in requests], first.now)


def users_at_once(n_items: int) -> int:
    """How many users are scored together, so that memory does not grow with the catalogue."""
    return max(1, min(_MOST, _SCORES // max(1, n_items)))
