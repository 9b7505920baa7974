"""Queries: the words of categories and names, what is refused, and an encoder that fails."""

import numpy as np
import pyarrow as pa
import pytest

from feast_fusion.training_set import Indexed, TrainingSet
from intake.dataset import Dataset, Interactions
from intake.encoder_settings import MainEncoder
from intake.versioned_tables import Items
from serving.query import read_query
from serving.query_words import QueryWords
from tests.conftest import Project
from transformations.declared_encoders import identify
from transformations.embedder import Embedder

GENRES = [["Horror"], None, ["Drama", "Film-Noir"], ["Drama"], ["Children's"]]
NAMES = [["Alfred Hitchcock"], ["Ann Drama"], None, ["Jos\u00e9 Horror"], [None, "Bo Film"]]


def described(dataset_path: object = "x") -> Dataset:
    items = Items(
        path="items.parquet",
        title="title",
        text="{title}. {genres}. {cast}",
        categorical=("genres",),
    )
    events = Interactions(path="events.parquet")
    return Dataset(name="films", items=items, interactions=events, path="dataset.toml")


def listed(values: list[list[str] | None]) -> Indexed:
    known = [each for each in values if each is not None]
    index = np.cumsum([each is not None for each in values]) - 1
    at = np.where([each is not None for each in values], index, -1).astype(np.int32)
    return Indexed(pa.array(known, pa.list_(pa.string())), at)


@pytest.fixture(scope="module")
def words() -> QueryWords:
    titles = [f"Horror film {i}" for i in range(len(GENRES))]
    rows = TrainingSet(
        pa.table({"item_profile__title": titles}),
        {},
        {"item_profile__genres": listed(GENRES), "item_profile__cast": listed(NAMES)},
    )
    return QueryWords.of(rows, described())


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("horror", [0, 3]),
        ("HORROR movies!", [0, 3]),
        ("a h\u00f3rror story", [0, 3]),
        ("films by Hitchcock", [0]),
        ("jose", [3]),
        ("a film for children", [4]),  # Bo Film too
        ("film noir", [2, 4]),
        ("noir", []),
        ("drama", [1, 2, 3]),
        ("quantum chromodynamics", []),
        ("", []),
    ],
)
def test_words_of_categories_and_names_find_their_items(
    words: QueryWords, query: str, found: list[int]
) -> None:
    assert np.flatnonzero(words.likeness(query)).tolist() == found


def test_the_rarer_word_counts_more(words: QueryWords) -> None:
    likeness = words.likeness("drama by hitchcock")
    assert likeness[0] > likeness[3] > 0


def test_items_without_a_word_have_no_likeness() -> None:
    rows = TrainingSet(pa.table({"item_profile__title": ["a", "b"]}), {}, {})
    assert not QueryWords.of(rows, described()).likeness("anything").any()


@pytest.fixture(scope="module")
def embedder(films: Project) -> Embedder:
    workspace = films.workspace
    return Embedder(workspace, identify(workspace.dataset).encoder_id)


@pytest.mark.parametrize(
    ("text", "asked", "refused"),
    [
        ("robots", ["robots"], []),
        ("not violent", [], ["violent"]),
        ("a comedy without romance, in space", ["a comedy  , in space"], ["romance"]),
        ("No horror. Not drama", [], ["horror", "drama"]),
        ("nothing", ["nothing"], []),
    ],
)
def test_what_is_refused_is_told_from_what_is_asked(
    embedder: Embedder, text: str, asked: list[str], refused: list[str]
) -> None:
    query = read_query(embedder, text)
    assert query is not None and query.is_whole
    assert [" ".join(wish.text.split()) for wish in query.asked] == [
        " ".join(each.split()) for each in asked
    ]
    assert [wish.text for wish in query.refused] == refused


@pytest.mark.parametrize("text", [None, "", " \n", "<br> \u200b"])
def test_a_text_without_a_word_is_no_query(embedder: Embedder, text: str | None) -> None:
    assert read_query(embedder, text) is None


def test_an_encoder_that_fails_leaves_the_words(films: Project) -> None:
    settings = {"encoder": MainEncoder(max_tokens=17)}
    other = identify(films.workspace.dataset.model_copy(update=settings)).encoder_id
    query = read_query(Embedder(films.workspace, other), "horror")
    assert query is not None
    assert not query.is_whole
    assert query.asked[0].vector is None
