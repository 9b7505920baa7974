"""Blocks of a transformer that are compiled: which they are, and what happens where it fails."""

from pathlib import Path

import numpy as np
import pytest
import torch

from feast_fusion.encoding import compilation
from feast_fusion.encoding.compilation import repeated_blocks
from feast_fusion.encoding.encoder import load_encoder
from tests.feast_fusion.encoding.tiny_models import FAMILIES, save_model

TEXTS = ["a film of love", "the quick brown fox jumps over the lazy dog", "war"]
BLOCKS = {
    "bert": "BertLayer",
    "mpnet": "MPNetLayer",
    "modernbert": "ModernBertEncoderLayer",
    "qwen3": "Qwen3DecoderLayer",
    "gemma3": "Gemma3DecoderLayer",
    "t5_encoder": "T5Block",
}


@pytest.mark.parametrize("family", BLOCKS)
def test_the_blocks_of_a_model_are_its_layers(family: str) -> None:
    blocks = repeated_blocks(FAMILIES[family]())

    assert [type(block).__name__ for block in blocks] == [BLOCKS[family]] * 2


def test_a_model_without_a_list_has_no_blocks() -> None:
    assert repeated_blocks(torch.nn.Linear(2, 2)) == []


def test_without_a_compiler_an_encoder_goes_on_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("/nowhere/c++",))
    monkeypatch.setattr("torch._inductor.config.force_disable_caches", True)
    encoder = load_encoder(save_model(tmp_path, "bert"), device="cpu", pooling="mean")
    before = encoder.encode(TEXTS)

    encoder.compile()

    assert "is not compiled: " in caplog.text
    np.testing.assert_array_equal(encoder.encode(TEXTS), before)


def test_what_gives_other_vectors_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = load_encoder(save_model(tmp_path, "bert"), device="cpu", pooling="mean")
    before = encoder.encode(TEXTS)

    def broken(forward: object, dynamic: bool) -> object:
        return lambda hidden, *_, **__: hidden.flip(-1)

    monkeypatch.setattr(compilation.torch, "compile", broken)
    encoder.compile()

    assert "to the vectors before" in caplog.text
    np.testing.assert_array_equal(encoder.encode(TEXTS), before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="compiling pays on a GPU only")
@pytest.mark.parametrize("family", BLOCKS)
def test_much_work_compiles_a_model_and_its_vectors_stay(
    tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feast_fusion.encoding.transformer_encoder.PAYS_FROM_OPERATIONS", 1.0)
    encoder = load_encoder(save_model(tmp_path, family), device="cuda", pooling="mean")
    before = encoder.encode(TEXTS)

    after = encoder.encode(TEXTS)

    assert np.einsum("nd,nd->n", before, after).min() > 0.999
