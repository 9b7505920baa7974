"""An encoder behind a real HTTP server: equal, gentle, and nothing lost or mixed when it fails."""

import json
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feast_fusion.encoding.cached_encoder import CachedEncoder
from feast_fusion.encoding.encoder import TextEncoder, load_encoder
from feast_fusion.encoding.identity import EncoderIdentity, describe_encoder
from feast_fusion.errors import EncoderMismatchError, SchemaError, StoreUnavailableError
from tests.feast_fusion.encoding.embeddings_server import WIDTH, Behaviour, serving

TEXTS = [f"film {number}" for number in range(100)]


@pytest.fixture
def behaviour() -> Behaviour:
    return Behaviour()


@pytest.fixture
def url(behaviour: Behaviour) -> Iterator[str]:
    with serving(behaviour) as url:
        yield url


def opened(url: str, **options: Any) -> TextEncoder:
    server = {"url": url, "n_attempts": 3} | options.pop("server", {})
    return load_encoder("some/model", **{"dimension": WIDTH, "server": server} | options)


def described(url: str, model: str = "some/model", **options: Any) -> EncoderIdentity:
    server = {"url": url, "n_attempts": 2} | options.pop("server", {})
    return describe_encoder(model, dimension=WIDTH, server=server, **options)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_vectors_are_the_servers_in_order_and_normalised(url: str, behaviour: Behaviour) -> None:
    encoder = opened(url, server={"texts_per_request": 8})
    np.testing.assert_allclose(encoder.encode(TEXTS), unit(behaviour.vectors(TEXTS)), atol=1e-6)
    assert encoder.encode([]).shape == (0, WIDTH)
    assert max(map(len, behaviour.asked[1:])) == 8
    assert behaviour.most_under_way > 1, "several requests at a time"


def test_prompts_and_the_cut_are_ours(url: str, behaviour: Behaviour) -> None:
    encoder = opened(url, prompts={"query": "find: "}, dimension=5)
    expected = unit(behaviour.vectors(["find: heat"])[:, :5])
    np.testing.assert_allclose(encoder.encode(["heat"], "query"), expected, atol=1e-6)
    assert encoder.encode(["a \ud800 b"]).shape == (1, 5)


def test_a_text_is_cut_at_about_max_tokens(url: str, behaviour: Behaviour) -> None:
    encoder = opened(url, max_tokens=10)
    encoder.encode(["abcd" * 50, "星" * 50, "ab星cd" * 50])
    assert behaviour.asked[-1][1:] == ["abcd" * 10, "星" * 10, "ab星cd" * 5]
    assert encoder.count_tokens(["abcde", "", "星星"]) == [2, 0, 2]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_failing_server_is_asked_again(url: str, behaviour: Behaviour, status: int) -> None:
    encoder = opened(url)
    behaviour.failures = [status, status]
    np.testing.assert_allclose(encoder.encode(["a"]), unit(behaviour.vectors(["a"])), atol=1e-6)
    behaviour.failures = [status] * 3
    with pytest.raises(StoreUnavailableError, match=f"got status {status} in 3 attempts"):
        encoder.encode(["a"])


def test_it_is_asked_again_when_it_says(url: str, behaviour: Behaviour) -> None:
    encoder = opened(url)
    behaviour.failures, behaviour.retry_after = [429], "1"
    encoder.encode(["a"])
    assert behaviour.begun[-1] - behaviour.begun[-2] >= 1.0, "by itself it would wait half of that"


def test_an_answer_that_breaks_off_or_comes_late_is_asked_for_again(
    url: str, behaviour: Behaviour
) -> None:
    expected = unit(behaviour.vectors(TEXTS))
    encoder = opened(url, server={"timeout_s": 0.5, "n_attempts": 2})
    behaviour.torn = 1
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-6)
    assert behaviour.torn == 0
    behaviour.delay_s = 2.0
    with pytest.raises(StoreUnavailableError, match="ReadTimeout in 2 attempts"):
        encoder.encode(["a"])
    behaviour.delay_s = 0.0
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-6)


def test_what_was_encoded_before_a_failure_is_kept(
    url: str, behaviour: Behaviour, tmp_path: Path
) -> None:
    many = [f"film {number}" for number in range(600)]
    cached = CachedEncoder(described(url), tmp_path)
    cached.encoder.encode(["opened"])
    behaviour.asked.clear()
    answered = behaviour.vectors

    def fails_later(texts: list[str]) -> np.ndarray:
        if len(behaviour.asked) > 12:
            behaviour.failures = [503] * 100
        return answered(texts)

    behaviour.vectors = fails_later  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailableError, match="run the same again"):
        cached.embed(many)
    kept = cached.cache.lookup(many)[1].sum()
    assert 0 < kept < len(many)
    behaviour.vectors, behaviour.failures = answered, []  # type: ignore[method-assign]
    vectors, _ = cached.embed(many)
    np.testing.assert_allclose(vectors, unit(answered(many)), atol=1e-6)
    assert cached.cache.n_encoded == len(many), "each text once"


def test_a_dead_and_a_silent_server_are_told_apart(behaviour: Behaviour) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(StoreUnavailableError, match="ConnectionError in 1 attempts"):
        opened(f"http://127.0.0.1:{port}/v1", server={"n_attempts": 1})
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        there = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        with pytest.raises(StoreUnavailableError, match="ReadTimeout in 1 attempts"):
            opened(there, server={"n_attempts": 1, "timeout_s": 0.2})


@pytest.mark.parametrize("most", [16, 3, 2])
def test_fewer_texts_are_sent_where_the_server_refuses(
    url: str, behaviour: Behaviour, most: int
) -> None:
    behaviour.most_texts = most
    encoder = opened(url, server={"n_parallel": 1})
    np.testing.assert_allclose(encoder.encode(TEXTS), unit(behaviour.vectors(TEXTS)), atol=1e-6)
    behaviour.asked.clear()
    encoder.encode(TEXTS)
    assert max(map(len, behaviour.asked)) <= most, "it is remembered"


def test_a_text_that_the_server_refuses_alone(url: str, behaviour: Behaviour) -> None:
    behaviour.longest_text = 1000
    encoder = opened(url)
    with pytest.raises(SchemaError, match=r"status 413.*Lower \[encoder\] max_tokens"):
        encoder.encode(["a", "b" * 2000])
    assert encoder.encode(["a", "b"] * 8).shape == (16, WIDTH)


def test_requests_begin_no_faster_than_allowed(url: str, behaviour: Behaviour) -> None:
    encoder = opened(url, server={"texts_per_request": 11, "requests_per_s": 20})
    encoder.encode(TEXTS)
    begun = behaviour.begun
    assert len(begun) == 11
    assert begun[-1] - begun[0] >= 10 / 20 * 0.9


def _answer_of(vector: list[Any], index: int | None = None) -> str:
    """An answer to the probes of an opening: one vector for all, of one index or each its own."""
    numbered = [{"index": at if index is None else index, "embedding": vector} for at in range(11)]
    return json.dumps({"data": numbered})


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"width": 15}, "got vectors of 15 numbers, expected at least the 16"),
        ({"forgets": 1}, "10 vectors for 11 texts"),
        ({"body": "<html>"}, "got '<html>'"),
        ({"body": '{"data": [{"index": 0, "embedding": "AAAA"}]}'}, "expected"),
        ({"body": _answer_of([0.0] * 15 + [float("nan")])}, "numbers that are not finite"),
        ({"body": _answer_of([0.0] * 15 + [None])}, "numbers that are not finite"),
        ({"body": _answer_of(["x"] * 16)}, "expected"),
        ({"body": _answer_of([1.0] * 16, index=0)}, "11 vectors for 11 texts, not one for each"),
        ({"salt": None}, "different texts to have different vectors"),
    ],
    ids=str,
)
def test_an_answer_that_is_no_vectors_is_refused(
    url: str, behaviour: Behaviour, fault: dict[str, Any], said: str
) -> None:
    for name, value in fault.items():
        setattr(behaviour, name, value)
    if behaviour.salt is None:
        behaviour.vectors = lambda texts: np.ones((len(texts), WIDTH))  # type: ignore
    with pytest.raises(SchemaError, match=said):
        opened(url)


def test_the_key_comes_from_the_environment(
    url: str, behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    behaviour.key = "secret"
    server = {"api_key_variable": "SOME_KEY"}
    with pytest.raises(StoreUnavailableError, match="got no value in SOME_KEY"):
        opened(url, server=server)
    monkeypatch.setenv("SOME_KEY", "wrong")
    with pytest.raises(StoreUnavailableError, match=r"status 401.*SOME_KEY") as raised:
        opened(url, server=server)
    assert "wrong" not in str(raised.value)
    monkeypatch.setenv("SOME_KEY", "secret")
    assert opened(url, server=server).encode(["a"]).shape == (1, WIDTH)


# Identity


def test_the_identity_is_of_the_model_and_needs_no_server(tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:1/v1"
    identity = described(nowhere)
    assert identity.encoder_id.startswith("model_")
    assert identity == described(nowhere)
    elsewhere = described("https://elsewhere/v1", server={"n_parallel": 9})
    assert elsewhere.encoder_id == identity.encoder_id
    assert described(nowhere, "some/model@2").encoder_id != identity.encoder_id
    assert described(nowhere, "some/model@2").model == identity.model, "the server knows no @2"
    with pytest.raises(SchemaError, match=r"\[encoder\] dimension: got none with a server"):
        describe_encoder("some/model", server={"url": nowhere})
    with pytest.raises(SchemaError, match=r"\[encoder\] pooling: got cls with a server"):
        described(nowhere, pooling="cls")


def test_another_model_behind_the_name_is_noticed_when_opened(
    url: str, behaviour: Behaviour, tmp_path: Path
) -> None:
    before = CachedEncoder(described(url), tmp_path).embed(["heat"])[0]
    again = CachedEncoder(described(url, prompts={"query": "find: "}), tmp_path)
    np.testing.assert_array_equal(again.embed(["heat"])[0], before)
    assert again.embed(["alien"])[1].all(), "the same server is accepted"
    behaviour.salt = "another model "
    changed = CachedEncoder(described(url), tmp_path)
    for _ in range(2):
        with pytest.raises(EncoderMismatchError, match=r'got other vectors.*"name@2"'):
            changed.embed(["jaws"])
    assert not changed.cache.lookup(["jaws"])[1].any()
    renamed = CachedEncoder(described(url, "some/model@2"), tmp_path)
    assert renamed.embed(["jaws"])[1].all()


def test_another_model_is_noticed_when_the_cache_is_empty(
    url: str, behaviour: Behaviour, tmp_path: Path
) -> None:
    vectors, probes = tmp_path / "vectors", tmp_path / "servers"
    assert CachedEncoder(described(url), vectors, probes=probes).embed(["heat"])[1].all()
    behaviour.salt = "another model "
    for folder in (vectors, tmp_path / "new"):
        shutil.rmtree(folder, ignore_errors=True)
        changed = CachedEncoder(described(url), folder, probes=probes)
        with pytest.raises(EncoderMismatchError, match="got other vectors"):
            changed.embed(["heat"])
        assert len(changed.cache) == 0
    behaviour.salt = ""
    assert changed.embed(["heat"])[1].all(), "the server is restored"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"garden": 3}', '{"garden": [1], "a": [1, 2]}']
)
def test_without_what_it_is_recognised_by_no_server_is_asked(
    url: str, tmp_path: Path, content: str
) -> None:
    cached = CachedEncoder(described(url), tmp_path)
    (tmp_path / f"{cached.identity.cache_id}.probes.json").write_text(content)
    with pytest.raises(StoreUnavailableError, match=r"probes\.json: got .*Restore the file"):
        cached.embed(["heat"])
    assert len(cached.cache) == 0


def test_another_model_is_noticed_within_a_job(url: str, behaviour: Behaviour) -> None:
    encoder = opened(url)
    encoder.encode(TEXTS)
    behaviour.salt = "another model "
    with pytest.raises(EncoderMismatchError):
        encoder.encode(TEXTS)


def test_threads_share_a_remote_encoder(url: str, behaviour: Behaviour) -> None:
    encoder = opened(url)
    expected = unit(behaviour.vectors(TEXTS))
    wrong: list[int] = []

    def work(number: int) -> None:
        if not np.allclose(encoder.encode(TEXTS), expected, atol=1e-6):
            wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
