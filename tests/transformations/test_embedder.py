"""Texts of a data set as vectors: cleaned alike, encoded once, never of another encoder."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from feast_fusion.encoding.host.encoder_host import EncoderHost
from feast_fusion.errors import (
    EncoderMismatchError,
    FeatureNotFoundError,
    SchemaError,
    StoreUnavailableError,
)
from intake.dataset_file import load_dataset
from intake.workspace import Workspace, open_workspace
from tests.datasets import make_films
from tests.feast_fusion.encoding.embeddings_server import Behaviour, serving
from transformations.declared_encoders import identify
from transformations.embedder import Embedder, open_embedder
from transformations.prepared_sources import write_sources

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
    return Embedder(workspace, identify(workspace.dataset).encoder_id)


def test_the_encoder_id_of_the_demo_stays_what_its_vectors_were_stored_under() -> None:
    identity = identify(load_dataset(MOVIELENS))
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


def test_batches_ask_other_machines_and_the_service_never(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place is absent, so whoever asks there fails."""
    encoder_id = identify(workspace.dataset).encoder_id
    monkeypatch.setenv("FUSION_VECTORS", str(tmp_path / "absent"))
    in_batches = open_embedder(str(workspace.dataset.path), str(tmp_path / "home"), encoder_id)
    assert in_batches.queries(["heat"])[1].all()
    with pytest.raises(StoreUnavailableError, match="FUSION_VECTORS"):
        in_batches.portraits(["likes what is quiet"])
    assert Embedder(workspace, encoder_id).portraits(["likes what is quiet"])[1].all()


def test_text_without_words_has_no_vector(embedder: Embedder) -> None:
    vectors, present = embedder.queries(["<br>", None, "", "the", "\u200b", "Heat"])
    assert present.tolist() == [False] * 5 + [True]
    assert not vectors[:5].any()
    assert embedder.queries([])[0].shape == (0, 384)


def test_tokens_are_counted_as_the_encoder_reads_them(embedder: Embedder) -> None:
    assert embedder.count_tokens(["heat", "<b>heat</b>"]) == 2 * 3
    assert embedder.count_tokens(["heat " * 500]) == 64


def test_another_process_has_the_weights_of_one_that_is_hosted(
    embedder: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = replace(embedder.workspace, home=tmp_path, encoder_host=tmp_path / "encoders")
    hosted = Embedder(workspace, embedder.identity.encoder_id)
    host = EncoderHost(lambda encoder_id: embedder.cached.encoder)
    host.load(embedder.identity.encoder_id)
    monkeypatch.setattr("feast_fusion.encoding.cached_encoder.open_encoder", None)
    texts = ["a <b>heist</b>", "the", "in space"]
    with host.listening(tmp_path / "encoders"):
        np.testing.assert_allclose(hosted.queries(texts)[0], embedder.queries(texts)[0], atol=2e-6)
        np.testing.assert_allclose(
            hosted.portraits(texts)[0], embedder.portraits(texts)[0], atol=2e-6
        )
        assert hosted.count_tokens(texts) == embedder.count_tokens(texts)
    assert (host.stats.n_texts, hosted.query_stats.n_texts) == (2, 0)
    with pytest.raises(StoreUnavailableError, match="the process that encodes for this host"):
        hosted.queries(["another one"])


def test_a_service_without_vectors_is_told_of(workspace: Workspace) -> None:
    with pytest.raises(FeatureNotFoundError, match="without vectors"):
        Embedder(workspace, None).queries(["anything"])


def _described(folder: Path, encoder: str, n_users: int = 3) -> Workspace:
    """The films with other lines in [encoder]."""
    description = make_films(folder, n_users=n_users, n_items=n_users, n_events=9 * n_users)
    text = description.read_text().replace("max_tokens = 64\n", f"{encoder}\n")
    description.write_text(text)
    return open_workspace(description, folder / "home")


def test_each_role_has_its_own_prompt(tmp_path: Path, embedder: Embedder) -> None:
    prompts = '[encoder.prompts]\nitem = "film: "\nbehaviour = "user: "\nquery = "find: "'
    workspace = _described(tmp_path, f'max_tokens = 24\ndtype = "float32"\n{prompts}')
    prompted = Embedder(workspace, identify(workspace.dataset).encoder_id)
    assert prompted.identity.encoder_id != embedder.identity.encoder_id
    texts = ["film: Heat", "user: liked Heat.", "find: heat"]
    expected = prompted.cached.encoder.encode([text.split(": ")[1] for text in texts], "item")
    item, _ = prompted.cached.embed(["Heat"])
    behaviour, _ = prompted.behaviours([["Heat"]], [[]])
    query, _ = prompted.queries(["heat"])
    plain = Embedder(embedder.workspace, embedder.identity.encoder_id).cached.encoder
    found = np.concatenate([item, behaviour, query])
    assert (found * plain.encode(texts)).sum(axis=1).min() > 0.9998
    assert (found[1:] * expected[1:]).sum(axis=1).max() < 0.99, "of another role it is another"
    assert prompted.count_tokens(["heat"]) == 2 + 3


def test_a_behaviour_leaves_room_for_its_prompt(tmp_path: Path) -> None:
    prompt = "one two three four five six seven eight nine ten "
    workspace = _described(tmp_path, f'max_tokens = 24\nprompts = {{behaviour = "{prompt}"}}')
    embedder = Embedder(workspace, identify(workspace.dataset).encoder_id)
    many = ["heat", "alien", "jaws", "fargo", "casino", "ran", "brazil", "seven", "up", "big"]
    together, _ = embedder.behaviours([many], [[]])
    fewer, _ = embedder.behaviours([many[:5]], [[]])
    assert float((together * fewer).sum()) > 0.9999, "whole titles, as many as have room"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('prompt = "query: "', "prompt"),
        ('prompts = {document = "x"}', "document"),
        ('dtype = "int8"', "dtype"),
        ("dimension = 0", "dimension"),
        ('server = {url = "localhost:8080"}', "url"),
    ],
)
def test_a_key_that_is_not_one_is_named(tmp_path: Path, lines: str, said: str) -> None:
    with pytest.raises(SchemaError, match=said):
        identify(_described(tmp_path, lines).dataset)


def test_the_keys_of_placement_reach_the_encoder(tmp_path: Path) -> None:
    lines = 'device = "cpu"\ndtype = "bfloat16"\nbatch_tokens = 100\ndimension = 64'
    workspace = _described(tmp_path, lines)
    embedder = Embedder(workspace, identify(workspace.dataset).encoder_id)
    encoder = embedder.cached.encoder
    assert (str(encoder.dtype), encoder.batch_tokens, encoder.dimension) == (
        "torch.bfloat16",
        100,
        64,
    )
    assert embedder.queries(["heat"])[0].shape == (1, 64)


def test_a_server_that_is_dead_or_has_another_model_is_noticed_before_anything_is_prepared(
    tmp_path: Path,
) -> None:
    behaviour = Behaviour()
    with serving(behaviour) as url:
        lines = f'dimension = 16\nserver = {{url = "{url}", n_attempts = 1}}'
        workspace = _described(tmp_path, lines, n_users=12)
        write_sources(workspace)
        n_asked = len(behaviour.asked)
        assert write_sources(workspace).is_unchanged
        assert len(behaviour.asked) == n_asked, "there is nothing to encode"
        stamp = workspace.read_stamp()
        items = workspace.dataset.path.parent / "items.parquet"
        pl.read_parquet(items).with_columns(title=pl.lit("Heat")).write_parquet(items)
        behaviour.salt = "another model "
        with pytest.raises(EncoderMismatchError, match="got other vectors"):
            write_sources(workspace)
    with pytest.raises(StoreUnavailableError, match="ConnectionError in 1 attempts"):
        write_sources(workspace)
    assert workspace.read_stamp() == stamp, "the sources have not changed"


def test_a_server_of_dataset_toml_encodes(tmp_path: Path) -> None:
    behaviour = Behaviour()
    with serving(behaviour) as url:
        lines = f'dimension = 16\nserver = {{url = "{url}", texts_per_request = 4}}'
        workspace = _described(tmp_path, lines)
        embedder = Embedder(workspace, identify(workspace.dataset).encoder_id)
        vectors, present = embedder.behaviours([["Heat", "Alien"], []], [["Jaws"], []])
    assert present.tolist() == [True, False]
    assert "liked Heat; Alien. disliked Jaws." in behaviour.asked[-1]
    assert vectors.shape == (2, 16)
