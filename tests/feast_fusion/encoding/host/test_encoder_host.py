"""One process encodes for others: the same vectors, batches of all, and no wait without an end."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from feast_fusion.encoding.encoder import TextEncoder
from feast_fusion.encoding.host.encoder_host import EncoderHost
from feast_fusion.encoding.host.hosted_encoder import HostedEncoder, HostedQueue
from feast_fusion.encoding.transformer_encoder import TransformerEncoder
from feast_fusion.errors import FeatureNotFoundError, SchemaError, StoreUnavailableError
from tests.feast_fusion.encoding.held_encoder import WAIT_S, Caller, Held
from tests.waiting import wait_until

TEXTS = ["a heist", "a longer text of a heist in a desert", "\ud800 half a pair", ""]


@contextmanager
def hosting(path: Path, encoder: TextEncoder) -> Iterator[EncoderHost]:
    host = EncoderHost(lambda encoder_id: encoder)
    with host.listening(path):
        yield host


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "encoders"


@pytest.fixture
def held(minilm: TransformerEncoder) -> Held:
    return Held(minilm)


def test_it_answers_what_the_encoder_itself_does(minilm: TransformerEncoder, path: Path) -> None:
    asking = HostedEncoder(minilm.identity, path)
    many = TEXTS * 40
    with hosting(path, minilm):
        found = asking.encode(many, "item")
        queries = HostedQueue(asking).encode(TEXTS, WAIT_S)
        assert asking.count_tokens(TEXTS) == minilm.count_tokens(TEXTS)
        assert asking.n_special_tokens == minilm.n_special_tokens == 2
        assert asking.encode([]).shape == (0, 384)
    np.testing.assert_allclose(found, minilm.encode(many), atol=2e-6)
    np.testing.assert_allclose(queries, minilm.encode(TEXTS, "query"), atol=2e-6)


def test_texts_of_two_who_ask_share_a_batch(held: Held, path: Path) -> None:
    with hosting(path, held) as host:
        first, *others = (HostedQueue(HostedEncoder(held.identity, path)) for _ in range(3))
        began = Caller(first, ["first"])
        wait_until(lambda: held.batches == [["first"]])
        callers = []
        for n, (queue, texts) in enumerate(zip(others, (["a", "b"], ["a", "c"]), strict=True)):
            callers.append(Caller(queue, texts))
            wait_until(lambda n=n: host.stats.n_waiting == 2 * (n + 1))
        held.let_go()
        assert all(caller.is_right() for caller in (began, *callers))
    assert [sorted(batch) for batch in held.batches] == [["first"], ["a", "b", "c"]]
    assert (host.stats.n_batches, host.stats.n_texts) == (2, 4)


def test_an_error_is_told_by_its_words_and_a_strange_one_by_its_type(
    held: Held, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    held.let_go()
    held.faults = {"bad": SchemaError("bad text"), "worse": ValueError("a secret")}
    queue = HostedQueue(HostedEncoder(held.identity, path))
    with hosting(path, held):
        with pytest.raises(SchemaError, match=r"^bad text$"):
            queue.encode(["bad"], WAIT_S)
        with pytest.raises(RuntimeError, match="got ValueError in the process") as told:
            queue.encode(["worse"], WAIT_S)
        assert "secret" not in str(told.value)
        assert queue.encode(["good"], WAIT_S).shape == (1, 16)
    assert [record.getMessage() for record in caplog.records] == ["texts could not be encoded"]


def test_who_waits_for_too_long_is_told_and_harms_nobody(held: Held, path: Path) -> None:
    queue = HostedQueue(HostedEncoder(held.identity, path))
    with hosting(path, held):
        with pytest.raises(StoreUnavailableError, match=r"within 0\.05 s"):
            queue.encode(["hasty"], 0.05)
        held.let_go()
        assert queue.encode(["patient"], WAIT_S).shape == (1, 16)


def test_nobody_waits_for_a_process_that_is_not_there_or_hangs(held: Held, path: Path) -> None:
    queue = HostedQueue(HostedEncoder(held.identity, path))
    began = time.monotonic()
    with pytest.raises(StoreUnavailableError, match="got FileNotFoundError, expected an answer"):
        queue.encode(["a"], WAIT_S)
    with socket.socket(socket.AF_UNIX) as hangs:
        hangs.bind(str(path))
        with pytest.raises(StoreUnavailableError, match="got ConnectionRefusedError"):
            queue.encode(["a"], WAIT_S)
        hangs.listen(0)
        for _ in range(3):  # the first are accepted by nobody, the last not even queued
            with pytest.raises(StoreUnavailableError, match=r"started again: ask again later"):
                queue.encode(["a"], 0.05)
    assert time.monotonic() - began < WAIT_S


def test_a_socket_that_a_dead_process_left_is_taken_over(held: Held, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    held.let_go()
    with hosting(path, held):
        assert HostedQueue(HostedEncoder(held.identity, path)).encode(["a"], WAIT_S).any()


def test_one_encoder_answers_while_another_is_loaded(held: Held, path: Path) -> None:
    is_loading, may_end = threading.Event(), threading.Event()
    slow = replace(held.identity, encoder_id="slow")

    def open_one(encoder_id: str) -> TextEncoder:
        if encoder_id == slow.encoder_id:
            is_loading.set()
            assert may_end.wait(WAIT_S)
        return held

    held.let_go()
    with EncoderHost(open_one).listening(path):
        waits = Caller(HostedQueue(HostedEncoder(slow, path)), ["slow"])
        assert is_loading.wait(WAIT_S)
        assert Caller(HostedQueue(HostedEncoder(held.identity, path)), ["quick"]).is_right()
        assert held.batches == [["quick"]]
        may_end.set()
        assert waits.is_right()


def test_an_encoder_that_could_not_be_loaded_is_tried_again(held: Held, path: Path) -> None:
    tried = list[str]()

    def open_one(encoder_id: str) -> TextEncoder:
        tried.append(encoder_id)
        if len(tried) == 1:
            raise FeatureNotFoundError("model: got no such folder")
        return held

    held.let_go()
    queue = HostedQueue(HostedEncoder(held.identity, path))
    with EncoderHost(open_one).listening(path):
        with pytest.raises(FeatureNotFoundError, match="got no such folder"):
            queue.encode(["a"], WAIT_S)
        assert queue.encode(["a"], WAIT_S).any() and queue.encode(["b"], WAIT_S).any()
    assert tried == [held.identity.encoder_id] * 2
