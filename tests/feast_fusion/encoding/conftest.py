"""Models for the encoder's tests: the real MiniLM, and tiny decoders made on the spot."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from feast_fusion.encoding.encoder import load_encoder
from feast_fusion.encoding.transformer_encoder import TransformerEncoder

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
CORPUS = [
    "the quick brown fox jumps over the lazy dog",
    "a film of love and war",
    "星际穿越 一部电影",
]

SaveDecoder = Callable[..., Path]


@pytest.fixture(scope="session")
def minilm() -> TransformerEncoder:
    """MiniLM in float32, in which rounding does not hide a mistake."""
    return load_encoder(MINILM, device="cpu", dtype=torch.float32)


def _byte_tokenizer(padding_side: str) -> PreTrainedTokenizerFast:
    """Byte-level BPE without a padding token and without special tokens around a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<eos>", padding_side=padding_side
    )


@pytest.fixture(scope="session")
def save_decoder(tmp_path_factory: pytest.TempPathFactory) -> SaveDecoder:
    """Writes a randomly initialised GPT-2 or Llama and its tokenizer; returns the folder."""

    def save(kind: str = "gpt2", padding_side: str = "right", seed: int = 0) -> Path:
        torch.manual_seed(seed)
        if kind == "gpt2":
            model = GPT2LMHeadModel(
                GPT2Config(vocab_size=300, n_positions=64, n_embd=32, n_layer=2, n_head=2)
            )
        else:
            model = LlamaForCausalLM(
                LlamaConfig(
                    vocab_size=300,
                    hidden_size=32,
                    intermediate_size=64,
                    num_hidden_layers=2,
                    num_attention_heads=2,
                    max_position_embeddings=64,
                )
            )
        folder = tmp_path_factory.mktemp(kind) / "Tiny--Decoder.v1"
        model.save_pretrained(folder)
        _byte_tokenizer(padding_side).save_pretrained(folder)
        return folder

    return save
