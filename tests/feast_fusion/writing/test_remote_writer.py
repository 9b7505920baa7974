"""A writer behind a real server: asked in parallel, retried, its faults named, once per text."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from feast_fusion.errors import SchemaError, StoreUnavailableError
from feast_fusion.writing.attributes import Attributes
from feast_fusion.writing.cached_writer import CachedWriter
from feast_fusion.writing.identity import WriterIdentity, describe_writer
from tests.feast_fusion.writing.chat_server import Behaviour, chat_server

PROMPT = "{attributes}\nItem: {text}\nJSON:"
ASKED = Attributes({"mood": ("light", "dark")}, {"themes": 2})
TEXTS = [f"Film number {i} of war" for i in range(9)]


def identity_of(url: str, *, prompt: str = PROMPT, **server: object) -> WriterIdentity:
    place = {"url": url, "n_attempts": 2, **server}
    return describe_writer("some/model", ASKED, prompt=prompt, max_characters=14, server=place)


def test_each_text_is_asked_about_once_by_all_who_share_the_cache(tmp_path: Path) -> None:
    server = Behaviour(delay_s=0.05)
    with chat_server(server) as url:
        writer = CachedWriter(identity_of(url), tmp_path)
        answers = writer.write([*TEXTS, "", None, " ", TEXTS[0]])
        assert len(server.asked) == len(TEXTS) and server.most_under_way > 1
        assert answers[0] == answers[-1] and answers[0].values["themes"] == ["film", "number"]
        assert answers[9].values == {"mood": None, "themes": None} and not answers[9].rejects
        assert writer.new_texts([*TEXTS, "another"]) == ["another"]
        cost = writer.cost
        assert cost.n_calls == len(TEXTS) and cost.n_read_tokens > 0 < cost.n_written_tokens
        again = CachedWriter(identity_of(url, n_parallel=1), tmp_path)
        assert again.write(TEXTS) == answers[:9] and len(server.asked) == len(TEXTS)
        other = CachedWriter(identity_of(url, prompt=PROMPT + " "), tmp_path)
        other.write(TEXTS[:1])
        assert len(server.asked) == len(TEXTS) + 1, "another prompt is another writer"
    assert CachedWriter(identity_of(url), tmp_path).write(TEXTS) == answers[:9], "without a server"


def test_two_who_need_the_same_texts_share_the_work(tmp_path: Path) -> None:
    server = Behaviour(delay_s=0.1)
    with chat_server(server) as url, ThreadPoolExecutor(2) as pool:
        two = [CachedWriter(identity_of(url, n_parallel=1), tmp_path) for _ in range(2)]
        first, second = pool.map(lambda writer: writer.write(TEXTS), two)
    assert first == second and sorted(server.asked) == sorted(set(server.asked))
    assert len(server.asked) == len(TEXTS) and server.most_under_way == 2


def test_texts_that_are_cut_alike_are_one(tmp_path: Path) -> None:
    server = Behaviour()
    with chat_server(server) as url:
        CachedWriter(identity_of(url), tmp_path).write(["x" * 14, "x" * 14 + "y"])
    assert len(server.asked) == 1 and server.asked[0].endswith("Item: xxxxxxxxxxxxxx\nJSON:")


def test_a_busy_server_is_asked_again_and_a_dead_one_loses_nothing(tmp_path: Path) -> None:
    server = Behaviour(failures=[503])
    with chat_server(server) as url:
        writer = CachedWriter(identity_of(url, n_parallel=1, n_attempts=3), tmp_path)
        writer.write(TEXTS[:4])  # of one batch
        assert len(server.asked) == 5
        server.failures = [500] * 3
        with pytest.raises(StoreUnavailableError, match=r"status 500 in 3 attempts.*kept"):
            writer.write(TEXTS)
        server.failures = []
        server.asked.clear()
        writer.write(TEXTS)
        assert sorted(server.asked) == sorted(set(server.asked)) and len(server.asked) == 5
    with pytest.raises(StoreUnavailableError, match="ConnectionError"):
        writer.write(["new"])


def test_answers_that_are_no_json_are_rejected_and_kept(tmp_path: Path) -> None:
    server = Behaviour(content="I cannot say.")
    with chat_server(server) as url:
        writer = CachedWriter(identity_of(url), tmp_path)
        for _ in range(2):
            (answer,) = writer.write(TEXTS[:1])
            assert answer.values == {"mood": None, "themes": None}
            assert answer.rejects[0] == "mood: 'I cannot say.'"
    assert len(server.asked) == 1


def test_what_is_wrong_with_a_server_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Behaviour(key="secret")
    with chat_server(server) as url:
        with pytest.raises(StoreUnavailableError, match="got no value in WRITER_KEY"):
            CachedWriter(identity_of(url, api_key_variable="WRITER_KEY"), tmp_path).write(TEXTS)
        monkeypatch.setenv("WRITER_KEY", "wrong")
        keyed = CachedWriter(identity_of(url, api_key_variable="WRITER_KEY"), tmp_path)
        with pytest.raises(StoreUnavailableError, match=r"status 401.*WRITER_KEY"):
            keyed.write(TEXTS)
        server.key, server.takes_schema = None, False
        with pytest.raises(StoreUnavailableError, match=r"json_schema = false"):
            CachedWriter(identity_of(url), tmp_path).write(TEXTS)
        server.content = '{"mood": "dark", "themes": ["war"]}'
        plain = CachedWriter(identity_of(url, json_schema=False), tmp_path)
        assert plain.write(TEXTS)[0].values == {"mood": "dark", "themes": ["war"]}
        server.body = '{"choices": []}'
        with pytest.raises(SchemaError, match="chat-completions form"):
            plain.write(["another"])
