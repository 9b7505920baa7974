"""What `tune` measures of the next-item model: it has learnt more than what is popular."""

from cli.feast_repository import open_store
from evaluation.baselines import BASELINES, POPULARITY
from evaluation.fitted_quality import validation_ndcg
from evaluation.measures import gains
from evaluation.protocol import next_positives, rank_by_scores
from tests.conftest import Project
from transformations.collaborative.prepared_log import read_prepared_events


def test_the_genre_that_a_user_likes_is_found(films: Project) -> None:
    workspace = films.workspace
    queries = next_positives(read_prepared_events(workspace), "validation", limit=1000)
    popular = BASELINES[POPULARITY](queries.events, queries.n_fitted, 0)
    floor = gains(rank_by_scores(queries, popular).rank)["ndcg@10"].mean()
    assert validation_ndcg(workspace, open_store(workspace)) > 1.2 * floor
