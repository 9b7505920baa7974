"""Text that a user types is cleaned like the text of items, whichever door it comes in by."""

import json
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from cli import main
from cli.feast_repository import open_store
from cli.redis_process import RunningRedis
from cli.redis_url import connection_string
from tests.conftest import Project
from tests.serving.http.service_process import Service, service_process

Door = Callable[[str], NDArray[np.float64]]
DOORS = ("recommend --query", "/recommend", "/similar", "/v1/embeddings", "query_embedding")
TYPED = {
    "Toy Story": "Toy Story",
    "Ｔｏｙ　Ｓｔｏｒｙ": "Toy Story",  # noqa: RUF001
    "<b>Toy</b> Story&nbsp;&amp; more": "Toy Story & more",
}
# Scores follow the clock: the second request comes some seconds later.
OF_VECTORS, OF_SCORES = 1e-6, 1e-3


@pytest.fixture(scope="module")
def service(
    served_films: Project, films_redis: RunningRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    log = tmp_path_factory.mktemp("service") / "log"
    with service_process(served_films, log, REDIS_URL=films_redis.url) as running:
        yield running.service
        running.stop()


@pytest.fixture(scope="module")
def doors(service: Service, served_films: Project, films_redis: RunningRedis) -> dict[str, Door]:
    """Each way in: a text -> numbers that follow from its vector and from nothing else."""
    workspace = served_films.workspace
    store = open_store(workspace, connection_string(films_redis.url))

    def by_item(items: list[dict[str, object]], number: str) -> NDArray[np.float64]:
        return np.array([item[number] for item in sorted(items, key=lambda it: str(it["item_id"]))])

    def command(text: str) -> NDArray[np.float64]:
        done = CliRunner(
            env={
                "FUSION_DATASET": str(workspace.dataset.path),
                "FUSION_HOME": str(workspace.home),
                "REDIS_URL": films_redis.url,
            }
        ).invoke(main, ["recommend", "u3", "--query", text, "-n", "80", "--json"])
        assert done.exit_code == 0, done.output
        return by_item(json.loads(done.stdout)["items"], "score")

    def recommend(text: str) -> NDArray[np.float64]:
        asked = {"user_id": "u3", "query": text, "n": 80}
        return by_item(service.post("/recommend", asked).json()["items"], "score")

    def similar(text: str) -> NDArray[np.float64]:
        found = service.post("/similar", {"text": text, "n": 80}).json()
        return by_item(found["items"], "cosine")

    def embeddings(text: str) -> NDArray[np.float64]:
        answer = service.post("/v1/embeddings", {"input": text}).json()
        return np.array(answer["data"][0]["embedding"])

    def on_demand(text: str) -> NDArray[np.float64]:
        read = store.get_online_features(
            features=["query_embedding:query_embedding"],
            entity_rows=[{"query_text": text}],
        )
        return np.array(read.to_dict()["query_embedding"][0])

    ways = (command, recommend, similar, embeddings, on_demand)
    return dict(zip(DOORS, ways, strict=True))


@pytest.mark.parametrize("typed", TYPED)
@pytest.mark.parametrize("door", DOORS)
def test_typed_text_has_the_vector_of_the_cleaned_text(
    doors: dict[str, Door], door: str, typed: str
) -> None:
    found, expected = doors[door](typed), doors[door](TYPED[typed])
    alike = OF_SCORES if "recommend" in door else OF_VECTORS
    np.testing.assert_allclose(found, expected, atol=alike)


@pytest.mark.parametrize("door", DOORS)
def test_another_text_has_another_vector(doors: dict[str, Door], door: str) -> None:
    """What the test above compares does follow from the text."""
    found, expected = doors[door]("a tale of two drunken sailors"), doors[door]("Toy Story")
    assert np.abs(found - expected).max() > 5 * OF_SCORES


def test_the_doors_agree(doors: dict[str, Door]) -> None:
    np.testing.assert_allclose(
        doors["/v1/embeddings"]("Toy Story"), doors["query_embedding"]("Toy Story"), atol=1e-5
    )


def test_text_without_words_is_refused(service: Service) -> None:
    refused = service.post("/v1/embeddings", {"input": ["fine", "<br>"]})
    assert (refused.status, "text 1 of 2" in refused.detail) == (422, True)
    assert service.post("/similar", {"text": "<br>"}).status == 404
    assert not service.post("/recommend", {"user_id": "u3", "query": "<br>"}).json()["degraded"]
