"""Likelihoods and greedy continuations equal those of one text at a time, by plain passes."""

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from feast_fusion.writing.continuation import (
    continuation_likelihoods,
    go_on,
    pad_right,
    read_on,
    read_prompts,
)
from tests.feast_fusion.encoding.conftest import SaveDecoder, save_decoder

__all__ = ["save_decoder"]

PROMPTS = [[5, 9, 200], [7], [11, 12, 13, 14, 15, 16, 17]]
HEAD = [21, 22]
TEXTS = [[31, 32, 33], [31], [40, 41]]


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def network(request: pytest.FixtureRequest, save_decoder: SaveDecoder) -> Any:
    return AutoModelForCausalLM.from_pretrained(save_decoder(request.param)).eval()


def pad_left(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids, mask


def slow_likelihood(network: Any, before: list[int], text: list[int]) -> float:
    logits = network(torch.tensor([before + text])).logits[0].log_softmax(dim=-1)
    places = range(len(before) - 1, len(before) + len(text) - 1)
    return float(sum(logits[place, token] for place, token in zip(places, text, strict=True)))


@torch.inference_mode()
def test_likelihoods_equal_those_of_one_text_at_a_time(network: Any) -> None:
    read = read_prompts(network, *pad_left(PROMPTS))
    behind = read_on(network, read, torch.tensor(HEAD))
    found = continuation_likelihoods(network, behind, *pad_right(TEXTS))
    expected = [[slow_likelihood(network, p + HEAD, text) for text in TEXTS] for p in PROMPTS]
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-4, rtol=1e-4)
    again = continuation_likelihoods(network, behind, *pad_right(TEXTS))
    torch.testing.assert_close(found, again, msg="the states of the prompts have changed")
    planted = [[slow_likelihood(network, p, text) for text in TEXTS] for p in PROMPTS]
    assert not torch.allclose(found, torch.tensor(planted), atol=1e-3), "the head is not read"


@torch.inference_mode()
def test_going_on_equals_greedy_generation_of_one_prompt_at_a_time(network: Any) -> None:
    def is_done(tokens: list[int]) -> bool:
        return tokens[-1] % 7 == 0

    read = read_on(network, read_prompts(network, *pad_left(PROMPTS)), torch.tensor(HEAD))
    for prompt, made in zip(PROMPTS, go_on(network, read, 12, is_done), strict=True):
        expected: list[int] = []
        while len(expected) < 12 and not (expected and is_done(expected)):
            logits = network(torch.tensor([prompt + HEAD + expected])).logits[0, -1]
            expected.append(int(logits.argmax()))
        assert made == expected
