"""All sections of the report on one workspace, measured one after the other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from typing import Any

import pyarrow as pa
from feast import FeatureStore

from evaluation.baselines import BASELINES, POPULARITY
from evaluation.choice_reliability import ChoiceReliability
from evaluation.cold_items import measure_cold_items
from evaluation.cold_model import ColdModel
from evaluation.contest import Contest, hold_contest
from evaluation.named_values import measure_named
from evaluation.past import PastRanks, Tell
from evaluation.pointwise import evaluate_ranker
from evaluation.protocol import TEST_LIMIT, Part, Queries, next_positives
from evaluation.recipe import Recipe
from evaluation.report.document import ColdItems, Named, Pointwise, Report, TradeOff, Worth
from evaluation.text_worth import measure_found_by_text, measure_liked_by_text
from evaluation.trade_off import TradeOffs
from evaluation.variants import measure_ablations, measure_learning
from evaluation.varied_answers import VariedAnswers
from feast_fusion.training_set import TrainingSet
from intake.split_settings import BY_TIME, SplitConfig
from intake.workspace import Workspace
from serving.past import PastRecommender
from training.next_item.fit_log import StoredLog
from training.next_item.item_side import text_vectors
from training.ranker.artifact import Artifact
from transformations.embedder import Embedder
from transformations.names import ranker_service

Progress = Callable[[str, int, int], None]

OURS = "ours, as served"
_LEARNING = ("EASE", POPULARITY)


@dataclass(frozen=True)
class Survey:
    """What is measured, and on what.

    Attributes
    ----------
    artifact : fitted without the test part of the events
    everything : also every baseline, cold items (a fit for each of three seeds), and queries
    ablations : also ablations, learning curves, and what text is worth: about forty fits
    seed : of the drawn queries and of the models
    progress : called with what is measured, how much of it is done, and of how much
    """

    workspace: Workspace
    store: FeatureStore
    training_set: TrainingSet
    artifact: Artifact
    everything: bool = False
    ablations: bool = False
    seed: int = 0
    progress: Progress = lambda what, done, total: None

    def measure(self) -> tuple[Report, pa.Table]:
        """The report, and the ranks of the recommender as it is served."""
        trade_offs = TradeOffs(self.workspace.dataset.ranker)
        reliability = ChoiceReliability()
        varied = VariedAnswers(next(iter(self.workspace.dataset.items.categorical), None))
        contests = self._contests(
            [
                lambda answer, at: trade_offs.take(answer.scores, answer.liked, answer.values, at),
                reliability.take,
                *([varied.take] if self.everything else []),
            ]
        )
        events = self._log.events
        report = Report(
            dataset=self.workspace.dataset.name,
            version=version("feast-fusion"),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            n_events=len(events),
            n_users=len(events.users),
            n_items=len(events.items),
            next_positive=[contest.section for contest in contests],
            pointwise=self._pointwise(),
            trade_offs=[*filter(self._is_meant, trade_offs.curves())],
            varied=varied.tables(),
            choice_scores=reliability.section(),
        )
        if self.everything:
            found = {"cold_items": self._cold_items(), "named": self._named()}
            report = report.model_copy(update=found)
        if self.ablations:
            report = report.model_copy(update={**self._ablations(), "text": self._text()})
        return report, contests[0].ranks

    def _pointwise(self) -> Pointwise:
        return evaluate_ranker(
            self.training_set,
            self.artifact,
            self.workspace.dataset.split,
            explicit=self.workspace.dataset.interactions.explicit,
            trees=self.everything,
        )

    def _is_meant(self, curve: TradeOff) -> bool:
        """Nobody can be said to be satisfied where every event is positive."""
        return curve.term != "satisfaction" or self.workspace.dataset.interactions.explicit

    @property
    def _by_time(self) -> SplitConfig:
        """The split of what fits models of its own, which is by time always."""
        how = self.workspace.dataset.split
        return how if how.by == "time" else BY_TIME

    @cached_property
    def _log(self) -> StoredLog:
        service = ranker_service(self.artifact.encoder_id)
        return StoredLog(self.workspace, self.store, service=service)

    def _contests(self, told: Sequence[Tell]) -> list[Contest]:
        """As the service answers; where it may repeat items, also on new ones alone."""
        recommender = PastRecommender(self.workspace, self.store, self.artifact)
        may_repeat = self.workspace.dataset.candidates.repeats
        as_served = PastRanks(recommender, told=told)
        new_alone = PastRanks(recommender, new_only=True)
        return [
            hold_contest(
                self._log.events,
                {OURS: as_served if repeats == may_repeat else new_alone},
                repeats=repeats,
                all_baselines=self.everything,
                limit=TEST_LIMIT,
                seed=self.seed,
                how=self.workspace.dataset.split,
                progress=self.progress,
            )
            for repeats in ((True, False) if may_repeat else (False,))
        ]

    def _cold_items(self) -> ColdItems:
        recipe, _ = self._recipe("test")
        vectors = text_vectors(recipe.rows)
        self.progress("cold items", 0, 1)
        ours = {"ours": ColdModel(recipe, self.seed)}
        return measure_cold_items(self._log.events, vectors, ours, how=self._by_time)

    def _named(self) -> list[Named]:
        recommender = PastRecommender(self.workspace, self.store, self.artifact)
        embedder = Embedder(self.workspace, self.artifact.encoder_id)
        return measure_named(recommender, embedder, self._log.events, self.progress)

    def _text(self) -> list[Worth]:
        """Of the ranker only where it reads text and something beside it."""
        recipe, _ = self._recipe("test")
        found = [
            measure_found_by_text(
                recipe, self._log.events, how=self._by_time, progress=self.progress
            )
        ]
        dataset = self.workspace.dataset
        if "text" in dataset.ranker.modalities and len(dataset.ranker.modalities) > 1:
            liked = measure_liked_by_text(self.training_set, dataset, progress=self.progress)
            found.insert(0, liked)
        return found

    def _ablations(self) -> dict[str, Any]:
        """On the part that chooses, so that the test part is not looked at again."""
        recipe, queries = self._recipe("validation")
        baselines = {name: BASELINES[name] for name in _LEARNING}
        return {
            "learning": measure_learning(
                recipe, "ours", baselines, queries, seed=self.seed, progress=self.progress
            ),
            "ablations": measure_ablations(recipe, queries, "validation", progress=self.progress),
        }

    def _recipe(self, part: Part) -> tuple[Recipe, Queries]:
        dataset = self.workspace.dataset
        settings = dataset.candidates
        queries = next_positives(
            self._log.events,
            part,
            limit=TEST_LIMIT,
            seed=self.seed,
            repeats=settings.repeats,
            how=self._by_time,
        )
        history = dataset.activity.history
        return Recipe.of(self._log, queries.n_fitted, settings, history), queries
