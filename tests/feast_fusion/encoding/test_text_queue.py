"""Concurrent callers' texts: together in batches, in turn, and nobody pays for another's fault."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_fusion.encoding.encoder import TextEncoder
from feast_fusion.encoding.text_queue import TextQueue
from feast_fusion.encoding.transformer_encoder import TransformerEncoder
from feast_fusion.errors import SchemaError, StoreUnavailableError
from tests.feast_fusion.encoding.held_encoder import WAIT_S, Caller, Held
from tests.waiting import wait_until


@pytest.fixture
def held(minilm: TransformerEncoder) -> Held:
    return Held(minilm)


def queue_of(encoder: Held, **options: int) -> TextQueue:
    as_encoder: TextEncoder = encoder
    return TextQueue(as_encoder, "query", **options)


def waiting(queue: TextQueue) -> list[list[str]]:
    return [list(call.texts[call.n_taken :]) for call in queue._calls]


@contextmanager
def while_one_is_encoded(held: Held, queue: TextQueue) -> Iterator[Caller]:
    """Others may line up in the block, behind a caller whose text is in work."""
    first = Caller(queue, ["first"])
    wait_until(lambda: held.batches == [["first"]])
    yield first
    held.let_go()


def line_up(queue: TextQueue, texts: list[str], wait_s: float = WAIT_S) -> Caller:
    n = len(queue._calls)
    caller = Caller(queue, texts, wait_s)
    wait_until(lambda: len(queue._calls) == n + 1)
    return caller


def test_who_comes_meanwhile_is_encoded_together(held: Held) -> None:
    queue = queue_of(held)
    with while_one_is_encoded(held, queue) as first:
        others = [line_up(queue, [text]) for text in ("a", "b", "a", "c")]
    assert all(caller.is_right() for caller in (first, *others))
    assert held.batches == [["first"], ["a", "b", "c"]], "each distinct text once"
    assert held.most_at_once == 1


def test_a_batch_has_so_many_tokens_and_takes_callers_in_turn(held: Held) -> None:
    queue = queue_of(held, batch_tokens=6)
    with while_one_is_encoded(held, queue) as first:
        many = line_up(queue, [f"m{number}" for number in range(7)])
        one, large = line_up(queue, ["xx"]), line_up(queue, ["beyond any batch"])
        late = line_up(queue, ["yy"])
    assert all(caller.is_right() for caller in (first, many, one, large, late))
    assert held.batches[1:] == [
        ["m0", "xx"],
        ["beyond any batch"],
        ["yy", "m1", "m2"],
        ["m3", "m4", "m5"],
        ["m6"],
    ]


def test_who_gives_up_takes_its_texts_out(held: Held) -> None:
    queue = queue_of(held)
    with while_one_is_encoded(held, queue) as first:
        patient = line_up(queue, ["patient"])
        hasty = Caller(queue, ["hasty"], wait_s=0.01)
        hasty.join()
        assert isinstance(hasty.error, StoreUnavailableError)
        assert "got no vector of 1 texts in time" in str(hasty.error)
        assert waiting(queue) == [["patient"]]
    assert first.is_right() and patient.is_right()
    assert held.batches == [["first"], ["patient"]]


def test_who_gives_up_on_a_batch_in_work_harms_nobody(held: Held) -> None:
    queue = queue_of(held, batch_tokens=6)
    with while_one_is_encoded(held, queue) as first:
        leader, hasty = line_up(queue, ["aa"]), line_up(queue, ["bb", "beyond"], wait_s=0.5)
        held.let_go(1)
        wait_until(lambda: len(held.batches) == 2)
        hasty.join()
    assert isinstance(hasty.error, StoreUnavailableError)
    assert first.is_right() and leader.is_right()
    assert Caller(queue, ["after"]).is_right()
    assert held.batches == [["first"], ["aa", "bb"], ["after"]]


def test_a_caller_of_many_texts_gives_up_between_its_batches(held: Held) -> None:
    held.let_go()
    queue = queue_of(held, batch_tokens=1)
    with pytest.raises(StoreUnavailableError, match="in time"):
        queue.encode(["a", "b"], wait_s=-1.0)
    assert held.batches == []
    assert queue.encode(["a"], WAIT_S).shape == (1, 16), "it left nothing behind"


def test_an_error_reaches_only_those_whose_text_caused_it(held: Held) -> None:
    queue = queue_of(held)
    held.faults = {"bad": SchemaError("bad text"), "worse": RuntimeError("worse text")}
    with while_one_is_encoded(held, queue) as first:
        good = [line_up(queue, [text, "shared"]) for text in ("a", "b", "c")]
        bad = line_up(queue, ["shared", "bad"])
        worse = line_up(queue, ["worse", "d"])
    assert all(caller.is_right() for caller in (first, *good))
    bad.join()
    worse.join()
    assert str(bad.error) == "bad text"
    assert str(worse.error) == "worse text"
    assert queue.encode(["a"], WAIT_S).shape == (1, 16), "and those after it are served"


def test_a_dead_server_is_not_asked_for_each_text_again(held: Held) -> None:
    queue = queue_of(held)
    held.faults = {"a": StoreUnavailableError("no answer")}
    with while_one_is_encoded(held, queue):
        others = [line_up(queue, [text]) for text in ("a", "b", "c")]
    for caller in others:
        caller.join()
        assert isinstance(caller.error, StoreUnavailableError)
    assert len(held.batches) == 2


def test_an_error_ends_the_rest_of_its_call(held: Held) -> None:
    held.let_go()
    held.faults = {"bad": SchemaError("bad text")}
    queue = queue_of(held, batch_tokens=3)
    with pytest.raises(SchemaError, match="bad text"):
        queue.encode(["bad", "never", "asked"], WAIT_S)
    assert held.batches == [["bad"]]


def test_an_interrupted_leader_leaves_the_others_theirs(held: Held) -> None:
    queue = queue_of(held)
    held.faults = {"mine": KeyboardInterrupt()}
    with while_one_is_encoded(held, queue) as first:
        leader = line_up(queue, ["mine"])
        others = [line_up(queue, [text]) for text in ("a", "b")]
    leader.join()
    assert isinstance(leader.error, KeyboardInterrupt)
    assert all(caller.is_right() for caller in (first, *others))


def test_so_many_texts_wait_and_no_more(held: Held) -> None:
    queue = queue_of(held, most_waiting=3)
    with while_one_is_encoded(held, queue) as first:
        two = line_up(queue, ["a", "b"])
        with pytest.raises(StoreUnavailableError, match="got 2 texts while 2 wait"):
            queue.encode(["c", "d"], WAIT_S)
        one = line_up(queue, ["c"])
    assert all(caller.is_right() for caller in (first, two, one))
    assert queue.encode(list("abcdef"), WAIT_S).shape == (6, 16), "alone it may have more"


@settings(max_examples=30)
@given(
    calls=st.lists(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=6), max_size=8),
    batch_tokens=st.integers(1, 20),
)
def test_every_caller_gets_its_own_vectors(
    minilm: TransformerEncoder, calls: list[list[str]], batch_tokens: int
) -> None:
    held = Held(minilm)
    held.let_go()
    queue = queue_of(held, batch_tokens=batch_tokens)
    callers = [Caller(queue, texts) for texts in calls]
    assert all(caller.is_right() for caller in callers)
    assert held.most_at_once <= 1
    assert waiting(queue) == []


def test_the_real_encoder_gives_each_its_own(minilm: TransformerEncoder) -> None:
    queue = TextQueue(minilm, "query", batch_tokens=40)
    texts = [[f"film {n} " * (1 + n % 5), f"book {n}"][: 1 + n % 2] for n in range(24)]
    callers = [Caller(queue, each) for each in texts]
    for caller in callers:
        caller.join()
        expected = np.concatenate([minilm.encode([text], "query") for text in caller.texts])
        assert caller.got is not None
        np.testing.assert_allclose(caller.got, expected, atol=2e-6)
