"""Top N for a user: candidates, their features from the online store, the ranker's order.

Nothing here fails because something else does: without the online store items are ordered by
popularity from memory, without the encoder a query is left out, and the answer says so.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from typing import Unpack

from feast_fusion.errors import StoreUnavailableError
from feast_fusion.tracing import span
from feast_fusion.training_set import TrainingSet
from intake.context import NO_CONTEXT, ContextColumns
from intake.model_settings import RankerConfig
from intake.variety_settings import PLAIN, Variety
from serving.answers import (
    STORE_EMPTY,
    STORE_INCOMPLETE,
    STORE_UNAVAILABLE,
    Recommendations,
    SimilarItem,
)
from serving.as_of import AsOf
from serving.asking import RankOptions, RecommendOptions
from serving.candidates import Candidates, Search
from serving.catalogue_watch import CatalogueWatch, Clock
from serving.known_rows import KnownRows
from serving.live_users import LiveUsers
from serving.online_features import OnlineFeatures
from serving.popular_answer import OutageLog, answer_by_popularity
from serving.ranking import Ranking, list_items
from serving.request import Request, Requests
from serving.requested_users import RequestedUsers, users_at_once
from serving.served_log import ServedLog
from serving.served_table import offer_served
from serving.similar_items import find_similar
from serving.slate import Slate, Slates
from serving.vector_index import Rows
from training.ranker.artifact import Artifact
from transformations.embedder import Embedder

# More threads that compute at once only take the interpreter lock from each other in the middle
# of their work: with eight callers each then waits half as long again.
_RANKED_AT_ONCE = 2
_WARM_UP = "feast-fusion:warm-up"  # a user whom nobody has
DEFAULT = RankerConfig()
NO_LIVE_EVENTS = LiveUsers()


class Recommender:
    """Ranks the catalogue of one workspace with one artifact. Safe for many threads.

    Parameters
    ----------
    embedder : of the encoder of the item vectors, for queries
    past : opens the answers of an instant, see `serving.past`
    n_candidates : how many items a recommendation ranks
    live : what live events say of users
    served_log : where the features of a sample of answers are kept for `audit skew`
    objective, outcomes : what the order serves beside the next choice, see `Ranking`
    repeats : whether what a user has had may be recommended again
    variety : how answers are spread, where a call does not say otherwise
    context : what a request may say of what is around it
    portrait_of : user id -> what was written of the user, for explanations
    clock : the time of a request
    """

    def __init__(
        self,
        features: OnlineFeatures,
        artifact: Artifact,
        watch: CatalogueWatch,
        embedder: Embedder,
        past: Callable[[datetime], AsOf],
        *,
        n_candidates: int = 500,
        live: LiveUsers = NO_LIVE_EVENTS,
        served_log: ServedLog | None = None,
        objective: RankerConfig = DEFAULT,
        outcomes: Mapping[str, float] | None = None,
        repeats: bool = False,
        variety: Variety = PLAIN,
        context: ContextColumns = NO_CONTEXT,
        portrait_of: Callable[[str], str | None] = lambda user_id: None,
        clock: Clock = lambda: datetime.now(UTC),
    ) -> None:
        self.features = features
        self._clock, self._repeats, self._model = clock, repeats, artifact.version
        self._slates = Slates(features, artifact.features, columns=context)
        self.context = context
        self._ranking = Ranking(artifact, objective, outcomes)
        self._watch = watch
        self._requests = Requests(watch, embedder, variety, clock, artifact.version)
        self.embedder = embedder
        self._past, self._n_candidates = past, n_candidates
        self._outages = OutageLog()
        self._turns = threading.Semaphore(_RANKED_AT_ONCE)
        self._live, self._portrait_of = live, portrait_of
        self._users = RequestedUsers(features, live, repeats=repeats)
        self._known = KnownRows(features, live)
        self._served_log = served_log

    def check(self) -> None:
        """Read the most popular items from the online store, and a sample of what it had.

        Raises
        ------
        StoreUnavailableError
            It does not answer in time, has none of them, as after a restart without its data, or
            has lost part of the sample.
        """
        self._known.check(self._watch.current, self._clock())

    def warm_up(self) -> None:
        """Answer once, so that no answer to a user waits until the encoder is loaded."""
        self.recommend(_WARM_UP, query="warm up")

    def recommend(
        self,
        user_id: str,
        n: int = 10,
        *,
        exclude: Iterable[str] = (),
        **asked: Unpack[RecommendOptions],
    ) -> Recommendations:
        """The `n` best unseen items for the user, best first; fewer when there are no more.

        They are available now, and pass the filter. A wrong filter is a `FilterError`, a column
        without categories in `variety` a `VarietyError`.

        Cold start: an unknown user gets popular and fresh items in the ranker's order, and with a
        query also items near to it. A user who only has a profile gets the same items, ranked with
        the profile. A missing online store or encoder is no error: see `Recommendations`.
        """
        seen = self._users.excluded(user_id, exclude, asked.get("session", ()))
        request = self._requests.begin(user_id, **asked)
        return self._recommend([request], n, [seen])[0]

    def recommend_each(
        self, user_ids: Sequence[str], n: int = 10, **asked: Unpack[RecommendOptions]
    ) -> Iterator[Recommendations]:
        """The answer to each user, as `recommend` gives it, in their order.

        Several users are read and scored together, which takes half the time. Scores may differ in
        their last bits from those of one user.
        """
        session = asked.get("session", ())
        together = 1 if session else users_at_once(len(self._watch.current))
        for start in range(0, len(user_ids), together):
            ids = user_ids[start : start + together]
            seen = {each: self._users.excluded(each, (), session) for each in ids}
            begun = [self._requests.begin(each, **asked) for each in ids]
            for _, of_one in groupby(begun, key=lambda request: id(request.catalogue)):
                requests = list(of_one)
                yield from self._recommend(requests, n, [seen[each.user_id] for each in requests])

    def as_of(self, at: datetime) -> AsOf:
        """What would have been answered at an instant, from history alone."""
        return self._past(at)

    def rank(
        self, user_id: str, item_ids: Sequence[str], **asked: Unpack[RankOptions]
    ) -> Recommendations:
        """The given items (repeated ones once) in the order of the user's liking, best first.

        They need not be available: who names an item has chosen to show it. Items without any
        feature are ranked too, after others of the same score.
        """
        request = self._requests.begin(user_id, **asked)
        distinct, since = list(dict.fromkeys(item_ids)), self._live.known_since(user_id)
        try:
            visiting = partial(self._users.after_visit, request)
            slate = self._slates.read(user_id, distinct, request.now, request.context, visiting)
        except StoreUnavailableError as error:
            self._outages.note(error)
            candidates = self._search(request, None, set()).named(distinct)
            return answer_by_popularity(request, candidates, len(candidates), STORE_UNAVAILABLE)
        had = self._users.had(slate.user)
        candidates = self._search(request, slate.user_row, had).named(distinct)
        return self._answer(request, candidates, slate, len(candidates), since)

    def recommend_popular(
        self,
        user_id: str,
        n: int,
        exclude: Iterable[str],
        reason: str,
        **asked: Unpack[RecommendOptions],
    ) -> Recommendations:
        """What `recommend` answers when there is no time to rank: from memory, flagged."""
        seen = self._users.excluded(user_id, exclude, asked.get("session", ()))
        request = self._requests.begin(user_id, is_encoded=False, **asked)
        return self._popular(request, n, seen, reason)

    def rank_by_popularity(
        self, user_id: str, item_ids: Sequence[str], reason: str, query: str | None = None
    ) -> Recommendations:
        """What `rank` answers when there is no time to rank: from memory, flagged."""
        request = self._requests.begin(user_id, is_encoded=False, query=query)
        candidates = self._search(request, None, set()).named(item_ids)
        return answer_by_popularity(request, candidates, len(candidates), reason)

    def similar(
        self,
        *,
        item_id: str | None = None,
        text: str | None = None,
        n: int = 10,
        filter: str | None = None,
    ) -> list[SimilarItem]:
        """The `n` items nearest to an item (without itself) or to a text, nearest first.

        They are available now and pass the filter, as those of `recommend`.

        Raises
        ------
        SchemaError
            Both or neither of `item_id` and `text` are given, or the filter is wrong.
        FeatureNotFoundError
            There is no such item, or it has no vector; or the text is empty once it is cleaned.
        """
        catalogue = self._watch.current
        passing = catalogue.passing(filter, self._clock())
        return find_similar(catalogue, self.embedder, item_id, text, n, passing)

    def _recommend(
        self, requests: Sequence[Request], n: int, seen: Sequence[set[str]]
    ) -> list[Recommendations]:
        """The answers to requests that ask the same of one catalogue, for a user each."""
        try:
            return self._ranked(requests, n, seen)
        except StoreUnavailableError as error:
            self._outages.note(error)
            return [
                self._popular(request, n, excluded, STORE_UNAVAILABLE)
                for request, excluded in zip(requests, seen, strict=True)
            ]

    def _ranked(
        self, requests: Sequence[Request], n: int, seen: Sequence[set[str]]
    ) -> list[Recommendations]:
        since = [self._live.known_since(each.user_id) for each in requests]  # before it is read
        first = requests[0]
        users, rows = self._users.read(requests)
        with span("candidates"):
            excluded = [
                self._excluded(request, before | self._users.had(user))
                for request, user, before in zip(requests, users, seen, strict=True)
            ]
            catalogue, likeness = first.catalogue, first.likeness
            searches = Search.of_each(catalogue, rows, excluded, likeness, first.passing)
            found = [search.best(max(n, self._n_candidates)) for search in searches]
        item_ids = [candidates.item_ids for candidates in found]
        slates = self._slates.of(users, rows, item_ids, first.now, first.context)
        each = zip(requests, found, slates, since, strict=True)
        return [
            self._answer(request, candidates, slate, n, known)
            for request, candidates, slate, known in each
        ]

    def _popular(self, request: Request, n: int, seen: set[str], reason: str) -> Recommendations:
        search = self._search(request, None, seen)
        is_first = request.query is None and not request.variety.max_per
        candidates = search.popular(n if is_first else max(n, self._n_candidates))
        return answer_by_popularity(request, candidates, n, reason)

    def _search(self, request: Request, user: TrainingSet | None, excluded: set[str]) -> Search:
        """What is looked for: not what is excluded, nor, without repeats, what the user has had."""
        catalogue, rows = request.catalogue, self._excluded(request, excluded)
        return Search.of(catalogue, user, rows, request.likeness, request.passing)

    def _excluded(self, request: Request, excluded: set[str]) -> list[Rows | tuple[()]]:
        catalogue = request.catalogue
        seen = () if self._repeats else catalogue.seen.of(request.user_id)
        return [seen, catalogue.rows_of(excluded)]

    def _answer(
        self, request: Request, candidates: Candidates, slate: Slate, n: int, since: int | None
    ) -> Recommendations:
        if (candidates.rows >= 0).any() and not slate.items.known.any():
            return answer_by_popularity(request, candidates, n, STORE_EMPTY)
        is_whole = self._known.is_whole(slate.user, request.catalogue, since)
        if self._live.is_behind() or not is_whole:
            request.failures.append(STORE_INCOMPLETE)
        with span("rank"), self._turns:
            ordered = self._ranking.order(request.catalogue, candidates, slate, request.objective)
            tried = ordered.best(request.catalogue, candidates, request.variety, n, request.name)
            items = list_items(request.catalogue, candidates, slate, ordered, tried, request.detail)
        is_logged = request.user_id != _WARM_UP and not request.visit
        if self._served_log is not None and is_logged:
            offer_served(self._served_log, request, slate, tried)
        portrait = self._portrait_of(request.user_id) if request.detail != "none" else None
        return request.answer(items, len(candidates), slate.user.kind, portrait)
