"""A decoder on this machine that writes attributes: choices by likelihood, the rest generated."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from feast_fusion.errors import extra_required, schema_error
from feast_fusion.writing.identity import WriterIdentity
from feast_fusion.writing.json_repair import read_json_answer
from feast_fusion.writing.model_place import LocalModel
from feast_fusion.writing.writer import Written

with extra_required("writer"):
    import torch

    from feast_fusion.writing.continuation import (
        ReadPrompts,
        continuation_likelihoods,
        go_on,
        in_halves,
        pad_right,
        read_on,
        read_prompts,
    )
    from feast_fusion.writing.decoder_loading import load_decoder

_MOST_PROMPTS = 32
_LOGIT_BYTES = 1 << 28  # of one pass
_TOKENS_PER_WORD, _TOKENS_PER_TEXT_WORD = 6, 2


@dataclass(frozen=True)
class _Choice:
    """An attribute with allowed values, in tokens.

    Attributes
    ----------
    head : (H,) what stands before a value
    ids, mask : (C, S) the values, each with its closing mark
    """

    head: torch.Tensor
    ids: torch.Tensor
    mask: torch.Tensor


@dataclass(frozen=True)
class _Free:
    """An attribute that is generated.

    Attributes
    ----------
    head : (H,) tokens before what is generated
    closing : mark behind it
    n_tokens : at most
    """

    head: torch.Tensor
    closing: str
    n_tokens: int

    @property
    def is_list(self) -> bool:
        """Whether it is a list of words, not a text."""
        return self.closing == "]"


class LocalWriter:
    """Greedy, so that the same prompt has the same answer; in float32 on the CPU.

    A choice is the allowed value whose log-likelihood is furthest above its mean over the reference
    prompts: by its bare likelihood the same value would suit nearly every text (Zhou et al. 2024,
    "Batch Calibration").

    Parameters
    ----------
    reference : prompts about other texts of the same kind

    Raises
    ------
    SchemaError, MissingExtraError
        As `load_decoder`.
    """

    def __init__(
        self, identity: WriterIdentity, model: LocalModel, reference: Sequence[str]
    ) -> None:
        self.identity = identity
        self._reference = reference
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.bfloat16 if self._device.type == "cuda" else torch.float32
        self._network, self._tokenizer = load_decoder(model, self._device, dtype)

    @property
    def batch(self) -> int:
        """As many prompts as the logits of their values have room for."""
        widest = max((choice.ids.numel() for choice in self._choices.values()), default=1)
        logit_bytes = 4 * widest * int(self._network.config.vocab_size)
        return max(1, min(_MOST_PROMPTS, _LOGIT_BYTES // logit_bytes))

    @torch.inference_mode()
    def write(self, prompts: Sequence[str]) -> list[Written]:
        """One JSON object for each prompt, of fewer at once where memory runs out.

        Raises
        ------
        SchemaError
            A prompt is longer than what the model reads.
        """
        return in_halves(self._write, prompts)

    def _write(self, prompts: Sequence[str]) -> list[Written]:
        read = self._read(prompts)
        rows = [dict[str, object]() for _ in prompts]
        n_written = [0] * len(prompts)
        for name, values in self.identity.attributes.choices.items():
            gain = self._likelihoods(read, name) - self._usual[name]
            for row, best in zip(rows, gain.argmax(dim=1).tolist(), strict=True):
                row[name] = values[best]
        for name, free in self._free.items():
            for at, (text, n_tokens) in enumerate(self._made(read, free)):
                rows[at][name] = (read_json_answer(f'["{text}') or text) if free.is_list else text
                n_written[at] += n_tokens
        return [
            Written(json.dumps(row, ensure_ascii=False), *counts)
            for row, *counts in zip(rows, read.mask.sum(dim=1).tolist(), n_written, strict=True)
        ]

    def _likelihoods(self, read: ReadPrompts, name: str) -> torch.Tensor:
        choice = self._choices[name]
        behind = read_on(self._network, read, choice.head)
        return continuation_likelihoods(self._network, behind, choice.ids, choice.mask)

    def _made(self, read: ReadPrompts, free: _Free) -> list[tuple[str, int]]:
        """Of each prompt the text that the model wrote before the closing mark, and its tokens."""

        def is_done(tokens: list[int]) -> bool:
            text: str = self._tokenizer.decode(tokens[-1:])
            return tokens[-1] == self._tokenizer.eos_token_id or free.closing in text

        behind = read_on(self._network, read, free.head)
        made = go_on(self._network, behind, free.n_tokens, is_done)
        texts = [self._tokenizer.decode(tokens, skip_special_tokens=True) for tokens in made]
        return [
            (text.partition(free.closing)[0], len(tokens))
            for text, tokens in zip(texts, made, strict=True)
        ]

    @cached_property
    def _free(self) -> dict[str, _Free]:
        """The attributes that are generated."""
        asked = self.identity.attributes
        lists = {
            name: _Free(self._tokens(_head(name, '["')), "]", _TOKENS_PER_WORD * n)
            for name, n in asked.words.items()
        }
        return lists | {
            name: _Free(self._tokens(_head(name, '"')), '"', _TOKENS_PER_TEXT_WORD * n)
            for name, n in asked.texts.items()
        }

    @cached_property
    def _choices(self) -> dict[str, _Choice]:
        found = {}
        for name, values in self.identity.attributes.choices.items():
            texts = [json.dumps(value, ensure_ascii=False)[1:] for value in values]
            ids, mask = pad_right([self._tokens(text).tolist() for text in texts])
            head = self._tokens(_head(name, '"'))
            found[name] = _Choice(head, ids.to(self._device), mask.to(self._device))
        return found

    @cached_property
    def _usual(self) -> dict[str, torch.Tensor]:
        """By attribute the (C,) mean log-likelihoods behind the reference prompts."""

        def likelihoods(prompts: Sequence[str]) -> list[dict[str, torch.Tensor]]:
            read = self._read(prompts)
            found = {name: self._likelihoods(read, name) for name in self._choices}
            return [{name: rows[at] for name, rows in found.items()} for at in range(len(prompts))]

        rows = []
        for start in range(0, len(self._reference), self.batch):
            rows += in_halves(likelihoods, self._reference[start : start + self.batch])
        return {
            name: torch.stack([row[name] for row in rows]).mean(dim=0) for name in self._choices
        }

    @cached_property
    def _room(self) -> int:
        """Tokens of the longest attribute behind a prompt."""
        choices = [len(choice.head) + choice.ids.shape[1] for choice in self._choices.values()]
        return max([*choices, *(len(free.head) + free.n_tokens for free in self._free.values())])

    def _tokens(self, text: str) -> torch.Tensor:
        """(n,) of a part of an answer."""
        tokens = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return torch.tensor(tokens, device=self._device)

    def _read(self, prompts: Sequence[str]) -> ReadPrompts:
        """The prompts as the model's chat template has them, if there is one, read."""
        has_template = bool(self._tokenizer.chat_template)
        texts = [self._as_chat(prompt) for prompt in prompts] if has_template else list(prompts)
        # A chat template has its own special tokens.
        found = self._tokenizer(
            texts, padding=True, add_special_tokens=not has_template, return_tensors="pt"
        )
        ids, mask = found["input_ids"], found["attention_mask"]
        limit = getattr(self._network.config, "max_position_embeddings", None)
        if limit is not None and ids.shape[1] + self._room > limit:
            raise schema_error(
                "[writer] max_characters",
                got=f"a prompt of {ids.shape[1]} tokens",
                expected=f"at most {limit - self._room}, which leaves room for the answer",
                remedy="Lower max_characters.",
            )
        return read_prompts(self._network, ids.to(self._device), mask.to(self._device))

    def _as_chat(self, prompt: str) -> str:
        chat: str = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
        )
        return chat


def _head(name: str, opening: str) -> str:
    return f' {{"{name}": {opening}'
