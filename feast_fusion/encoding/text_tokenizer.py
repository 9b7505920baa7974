"""Texts -> token ids of a model, cut at its limit. Safe for many threads."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from threading import Lock
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from tokenizers.normalizers import Lowercase, Normalizer
from tokenizers.normalizers import Sequence as Normalizers
from transformers import AutoTokenizer

from feast_fusion.encoding.model_loading import failures_explained
from feast_fusion.encoding.transformer_config import TransformerConfig

_AT_ONCE = 4096


@dataclass(frozen=True)
class Tokens:
    """Token ids of n texts one after the other; text i has `lengths[i]` of them at `starts[i]`."""

    ids: NDArray[np.int32]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]


class TextTokenizer:
    """The tokenizer of a model.

    Parameters
    ----------
    transformer : whose folder has the tokenizer's files
    max_tokens : a longer text is cut there, special tokens included
    """

    def __init__(self, transformer: TransformerConfig, max_tokens: int) -> None:
        options = json.loads(transformer.tokenizer_options)
        with failures_explained(transformer.folder):
            self._tokenizer = AutoTokenizer.from_pretrained(
                transformer.folder, **options, trust_remote_code=False, local_files_only=True
            )
        if transformer.do_lower_case:
            _lower_case(self._tokenizer)
        self._max_tokens = max_tokens
        # Tokenizers keep their truncation as state, which two threads would change for each other.
        self._lock = Lock()
        self._n_prompt = lru_cache(maxsize=16)(self._count_prompt)

    @property
    def n_special_tokens(self) -> int:
        """Special tokens that encoding adds to a text."""
        return int(self._tokenizer.num_special_tokens_to_add())

    @property
    def filler_id(self) -> int:
        """An id for padding."""
        tokenizer = self._tokenizer
        for token in (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id):
            if token is not None:
                return int(token)
        return 0

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without special tokens and truncation."""
        return [
            len(ids)
            for start in range(0, len(texts), _AT_ONCE)
            for ids in self._ids_of(texts[start : start + _AT_ONCE], add_special_tokens=False)
        ]

    def tokenise(self, texts: Sequence[str], prompt: str = "") -> Tokens:
        """Ids of all texts, four bytes each."""
        prompted = [prompt + text for text in texts]
        ids = self._ids_of(prompted, truncation=True, max_length=self._max_tokens)
        # Without special tokens an empty text has no token at all, and a model needs one.
        ids = [row or [self.filler_id] for row in ids]
        joined = np.fromiter(chain.from_iterable(ids), dtype=np.int32)
        lengths = np.array([len(row) for row in ids], dtype=np.int64)
        return Tokens(joined, np.cumsum(lengths) - lengths, lengths)

    def pad(
        self, tokens: Tokens, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ids and mask (B, L) of some texts, padded on the right: positions need no correction."""
        lengths = tokens.lengths[rows]
        mask = np.arange(lengths.max())[None, :] < lengths[:, None]
        ids = np.full(mask.shape, self.filler_id, dtype=np.int64)
        ids[mask] = np.concatenate(
            [
                tokens.ids[start : start + length]
                for start, length in zip(tokens.starts[rows], lengths, strict=True)
            ]
        )
        return ids, mask.astype(np.int64)

    def n_prompt_tokens(self, prompt: str) -> int:
        """Tokens that a prompt has at the start of a text, a special one before it included."""
        return self._n_prompt(prompt) if prompt else 0

    def _count_prompt(self, prompt: str) -> int:
        (ids,) = self._ids_of([prompt], truncation=True, max_length=self._max_tokens)
        ends_special = bool(ids) and ids[-1] in self._tokenizer.all_special_ids
        return len(ids) - ends_special

    def _ids_of(self, texts: Sequence[str], **options: Any) -> list[list[int]]:
        # A lone surrogate is no text that a tokenizer can read.
        readable = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        with self._lock:
            tokenised = self._tokenizer(
                readable,
                padding=False,
                return_attention_mask=False,
                return_token_type_ids=False,
                verbose=False,
                **options,
            )
        ids: list[list[int]] = tokenised["input_ids"]
        return ids


def _lower_case(tokenizer: Any) -> None:
    """Put lower case before the tokenizer's own normalisation, unless it has it."""
    backend = tokenizer.backend_tokenizer
    own: Normalizer | None = backend.normalizer
    parts = list(cast(Iterable[Normalizer], own)) if isinstance(own, Normalizers) else [own]
    if not any(isinstance(part, Lowercase) for part in parts):
        backend.normalizer = Normalizers([Lowercase(), *filter(None, parts)])
