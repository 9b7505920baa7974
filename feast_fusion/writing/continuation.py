"""How likely a decoder goes on from prompts with given texts, and how it goes on by itself."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

Row = TypeVar("Row")


@dataclass(frozen=True)
class ReadPrompts:
    """B prompts that a decoder has read, and whose states are kept.

    Attributes
    ----------
    mask : (B, P) which positions are tokens; the first ones may be padding
    cache : keys and values of every layer
    logits : (B, v) of the token behind each prompt
    """

    mask: torch.Tensor
    cache: Any
    logits: torch.Tensor


def read_prompts(network: Any, ids: torch.Tensor, mask: torch.Tensor) -> ReadPrompts:
    """The prompts (B, P), padded on the left, after one pass of the network."""
    return _read(network, None, ids, mask)


def read_on(network: Any, prompts: ReadPrompts, ids: torch.Tensor) -> ReadPrompts:
    """The prompts and the tokens (H,) behind each of them; `prompts` stay as they are."""
    ids = ids.expand(len(prompts.mask), -1)  # (B, H)
    mask = torch.cat([prompts.mask, torch.ones_like(ids)], dim=1)
    return _read(network, copy.deepcopy(prompts.cache), ids, mask)


def continuation_likelihoods(
    network: Any, prompts: ReadPrompts, ids: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """(B, C) log-likelihood of each of C continuations (C, S), padded on the right."""
    n_prompts, n_texts = len(prompts.mask), len(ids)
    likelihood = torch.log_softmax(prompts.logits.float(), dim=-1)[:, ids[:, 0]]  # (B, C)
    if ids.shape[1] == 1:
        return likelihood
    cache = copy.deepcopy(prompts.cache)
    cache.batch_repeat_interleave(n_texts)
    given = ids[:, :-1].repeat(n_prompts, 1)  # (B * C, S - 1): nothing follows the last token
    following, counted = ids[:, 1:].repeat(n_prompts, 1), mask[:, 1:].repeat(n_prompts, 1)
    before = prompts.mask.repeat_interleave(n_texts, dim=0)
    whole = torch.cat([before, mask[:, :-1].repeat(n_prompts, 1)], dim=1)
    logits = network(
        input_ids=given,
        attention_mask=whole,
        position_ids=_positions(whole)[:, -given.shape[1] :],
        past_key_values=cache,
        use_cache=True,
    ).logits.float()  # (B * C, S - 1, v)
    chosen = logits.gather(2, following[..., None])[..., 0] - logits.logsumexp(dim=-1)
    rest: torch.Tensor = (chosen * counted).sum(dim=1).view(n_prompts, n_texts)
    return likelihood + rest


def go_on(
    network: Any, prompts: ReadPrompts, n_new: int, is_done: Callable[[list[int]], bool]
) -> list[list[int]]:
    """The tokens that the decoder writes behind each prompt, each time the likeliest.

    A text ends with the token after which it `is_done`, or after `n_new` tokens. The states of
    `prompts` are used up.
    """
    made: list[list[int]] = [[] for _ in prompts.mask]
    ended = [False] * len(made)
    while True:
        tokens = prompts.logits.argmax(dim=-1)
        for at, token in enumerate(tokens.tolist()):
            if not ended[at]:
                made[at].append(token)
                ended[at] = len(made[at]) == n_new or is_done(made[at])
        if all(ended):
            return made
        mask = torch.cat([prompts.mask, torch.ones_like(tokens)[:, None]], dim=1)
        prompts = _read(network, prompts.cache, tokens[:, None], mask)


def in_halves(work: Callable[[Sequence[str]], list[Row]], prompts: Sequence[str]) -> list[Row]:
    """`work(prompts)`, or of each half of them where memory runs out; raises where one has none."""
    if not prompts:
        return []
    try:
        return work(prompts)
    except torch.OutOfMemoryError:
        if len(prompts) == 1:
            raise
    torch.cuda.empty_cache()
    half = len(prompts) // 2
    return in_halves(work, prompts[:half]) + in_halves(work, prompts[half:])


def pad_right(tokens: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """(C, S) ids and which of them are tokens.

    >>> pad_right([[7, 8], [9]])[1].tolist()
    [[1, 1], [1, 0]]
    """
    width = max(map(len, tokens))
    ids = torch.tensor([[*each, *[0] * (width - len(each))] for each in tokens])
    mask = torch.tensor([[1] * len(each) + [0] * (width - len(each)) for each in tokens])
    return ids, mask


def _read(network: Any, cache: Any, ids: torch.Tensor, mask: torch.Tensor) -> ReadPrompts:
    read = network(
        input_ids=ids,
        attention_mask=mask,
        position_ids=_positions(mask)[:, -ids.shape[1] :],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return ReadPrompts(mask, read.past_key_values, read.logits[:, -1])


def _positions(mask: torch.Tensor) -> torch.Tensor:
    return (mask.cumsum(dim=1) - 1).clamp(min=0)
