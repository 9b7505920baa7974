"""Texts of a data set as vectors: cleaned alike, encoded once, never of another encoder."""

from pathlib import Path

import numpy as np
import pytest

from feast_fusion.errors import FeatureNotFoundError
from intake.dataset_file import load_dataset
from intake.workspace import Workspace, open_workspace
from tests.datasets import make_films
from transformations.embedder import Embedder, identify

MOVIELENS = Path(__file__).parents[2] / "examples" / "movielens" / "dataset.toml"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("films")
    description = make_films(folder, n_users=3, n_items=3, n_events=9)
    with description.open("a") as file:
        file.write('[cleaning]\nstop_words = ["the"]\n')
    return open_workspace(description, folder / "home")


@pytest.fixture(scope="module")
def embedder(workspace: Workspace) -> Embedder:
    return Embedder(workspace, identify(workspace.dataset.encoder).encoder_id)


def test_the_encoder_id_of_the_demo_stays_what_its_vectors_were_stored_under() -> None:
    identity = identify(load_dataset(MOVIELENS).encoder)
    assert identity.encoder_id == "all_minilm_l6_v2_3d4145e4f38e"


def test_a_query_is_encoded_once_however_it_is_typed(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, encoded = embedder.cached.encoder, list[str]()
    encode = encoder.encode
    monkeypatch.setattr(
        encoder, "encode", lambda texts, role: encoded.extend(texts) or encode(texts, role)
    )
    vectors, present = embedder.queries(["a heist", "Ａ  the heist", " a &lt;b&gt;heist"])  # noqa: RUF001
    again, _ = embedder.queries(["a heist"])
    assert present.all()
    np.testing.assert_array_equal(vectors[0], again[0])
    np.testing.assert_array_equal(vectors[0], vectors[2])
    assert sorted(encoded) == ["A heist", "a heist"], "in capitals it is another text"


def test_queries_are_not_kept_on_disk(embedder: Embedder) -> None:
    embedder.queries(["something nobody asked before"])
    assert not embedder.cached.cache.lookup(["something nobody asked before"])[1].any()


def test_text_without_words_has_no_vector(embedder: Embedder) -> None:
    vectors, present = embedder.queries(["<br>", None, "", "the", "\u200b", "Heat"])
    assert present.tolist() == [False] * 5 + [True]
    assert not vectors[:5].any()
    assert embedder.queries([])[0].shape == (0, 384)


def test_tokens_are_counted_as_the_encoder_reads_them(embedder: Embedder) -> None:
    assert embedder.count_tokens(["heat", "<b>heat</b>"]) == 2 * 3
    assert embedder.count_tokens(["heat " * 500]) == 64


def test_a_service_without_vectors_is_told_of(workspace: Workspace) -> None:
    with pytest.raises(FeatureNotFoundError, match="without vectors"):
        Embedder(workspace, None).queries(["anything"])
