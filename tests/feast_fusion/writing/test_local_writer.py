"""A decoder in a folder, with and without a chat template: valid choices, damage named."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from feast_fusion.errors import FeatureNotFoundError
from feast_fusion.writing.attributes import Attributes
from feast_fusion.writing.cached_writer import CachedWriter
from feast_fusion.writing.identity import WriterIdentity, describe_writer
from feast_fusion.writing.writer import open_writer
from tests.feast_fusion.encoding.conftest import SaveDecoder, save_decoder

__all__ = ["save_decoder"]

ASKED = Attributes({"mood": ("light", "dark"), "audience": ("all", "adults")}, {"themes": 1})
TEMPLATE = "{% for m in messages %}Q {{ m.content }}{% endfor %}{% if add_generation_prompt %} A"
PROMPTS = ["a film", "war", "love and"]


def identity_of(folder: Path) -> WriterIdentity:
    return describe_writer(str(folder), ASKED, prompt="{text}", max_characters=100)


def test_a_chat_template_changes_what_is_read_and_who_writes(save_decoder: SaveDecoder) -> None:
    folder = save_decoder("gpt2")
    plain = identity_of(folder)
    without = open_writer(plain, PROMPTS).write(PROMPTS)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE + "{% endif %}"
    tokenizer.save_pretrained(folder)
    chat = identity_of(folder)
    assert chat.writer_id != plain.writer_id
    written = open_writer(chat, PROMPTS).write(PROMPTS)
    for answer, bare in zip(written, without, strict=True):
        values = json.loads(answer.text)
        assert list(values) == ["mood", "audience", "themes"]
        assert values["mood"] in ("light", "dark") and values["audience"] in ("all", "adults")
        assert answer.n_read_tokens > bare.n_read_tokens and answer.n_written_tokens > 0


def test_memory_that_runs_out_halves_the_batch(
    save_decoder: SaveDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = identity_of(save_decoder("llama"))
    expected = open_writer(identity, PROMPTS).write(PROMPTS)
    forward, sizes = LlamaForCausalLM.forward, []

    def small(network: Any, input_ids: torch.Tensor, **given: Any) -> Any:
        sizes.append(len(input_ids))
        if len(input_ids) > room:
            raise torch.OutOfMemoryError("no room")
        return forward(network, input_ids, **given)

    monkeypatch.setattr(LlamaForCausalLM, "forward", small)
    room = 2  # a prompt and its two continuations
    assert open_writer(identity, PROMPTS).write(PROMPTS) == expected and max(sizes) > room
    room = 0
    with pytest.raises(torch.OutOfMemoryError):
        open_writer(identity, PROMPTS).write(PROMPTS)


def test_a_folder_without_a_tokenizer_is_refused(save_decoder: SaveDecoder) -> None:
    folder = save_decoder("llama")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(FeatureNotFoundError, match="tokenizer"):
        identity_of(folder)


def test_a_damaged_cache_is_set_aside_and_its_texts_are_written_again(
    save_decoder: SaveDecoder, tmp_path: Path
) -> None:
    identity = identity_of(save_decoder("llama"))
    written = CachedWriter(identity, tmp_path).write(PROMPTS)
    path = tmp_path / f"{identity.writer_id}.sqlite"
    path.write_bytes(b"no database" * 100)
    writer = CachedWriter(identity, tmp_path)
    assert writer.write(PROMPTS) == written and writer.cost.n_calls == len(PROMPTS)
    assert (tmp_path / f"{path.name}.damaged0").exists()
