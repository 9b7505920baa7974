"""A Hugging Face encoder or decoder as a `TextEncoder`: batches by length under a token budget."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from feast_fusion.encoding.identity import EncoderIdentity
from feast_fusion.encoding.pooling import pool
from feast_fusion.errors import schema_error

# Activations of a batch stay in a CPU's cache; a GPU is busy from about 10^5 tokens on.
_BATCH_TOKENS = {"cpu": 2048, "cuda": 65_536}
_TOKENISED_AT_ONCE = 4096
_LAUNCHED_AT_ONCE = {"cpu": 1, "cuda": 16}


@dataclass(frozen=True)
class _Tokens:
    """Token ids of n texts one after the other; text i has `lengths[i]` of them at `starts[i]`."""

    ids: NDArray[np.int32]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]


class TransformerEncoder:
    """Encodes texts on one device."""

    def __init__(
        self,
        identity: EncoderIdentity,
        *,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        batch_tokens: int | None = None,
    ) -> None:
        self.identity = identity
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.dtype = dtype or _fast_dtype(self.device)
        self.batch_tokens = batch_tokens or _BATCH_TOKENS.get(self.device.type, 16_384)
        self._tokenizer = AutoTokenizer.from_pretrained(
            identity.folder, trust_remote_code=False, local_files_only=True
        )
        # Tokenizers keep their truncation as state, which two threads would change for each other.
        self._tokenizer_lock = Lock()
        self._model = _load_model(identity, self.dtype).to(self.device).eval()

    @property
    def encoder_id(self) -> str:
        """Identity of the vectors."""
        return self.identity.encoder_id

    @property
    def dimension(self) -> int:
        """Width d of a vector."""
        return self.identity.dimension

    @property
    def n_special_tokens(self) -> int:
        """Special tokens that encoding adds to a text."""
        return int(self._tokenizer.num_special_tokens_to_add())

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without special tokens, prompt and truncation."""
        return [
            len(ids)
            for start in range(0, len(texts), _TOKENISED_AT_ONCE)
            for ids in self._ids_of(
                texts[start : start + _TOKENISED_AT_ONCE], add_special_tokens=False
            )
        ]

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, d) L2-normalised vectors in the order of `texts`; (0, d) for none.

        Texts are cut at `max_tokens`.

        Raises
        ------
        SchemaError
            The model gave a vector that is not finite.
        """
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for rows, done in self._encode_by_length(self._tokenise(texts)):
            vectors[rows] = done
        n_bad = int((~np.isfinite(vectors).all(axis=1)).sum())
        if n_bad:
            raise schema_error(
                f"encoder {self.encoder_id} in {self.dtype}",
                got=f"{n_bad} vectors that are not finite",
                expected="finite numbers",
                remedy="Load it with dtype=torch.float32 or torch.bfloat16.",
            )
        return vectors

    def _ids_of(self, texts: Sequence[str], **options: Any) -> list[list[int]]:
        # A lone surrogate is no text that a tokenizer can read.
        readable = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        with self._tokenizer_lock:
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

    def _tokenise(self, texts: Sequence[str]) -> _Tokens:
        """Ids of all texts, four bytes each; the rest of tokenising is kept for a chunk only."""
        chunks: list[NDArray[np.int32]] = []
        counts: list[int] = []
        for start in range(0, len(texts), _TOKENISED_AT_ONCE):
            chunk = [self.identity.prompt + t for t in texts[start : start + _TOKENISED_AT_ONCE]]
            ids = self._ids_of(chunk, truncation=True, max_length=self.identity.max_tokens)
            # Without special tokens an empty text has no token at all, and a model needs one.
            ids = [row or [self._filler_id] for row in ids]
            chunks.append(np.fromiter(chain.from_iterable(ids), dtype=np.int32))
            counts += map(len, ids)
        joined = np.concatenate(chunks) if chunks else np.empty(0, dtype=np.int32)
        lengths = np.array(counts, dtype=np.int64)
        return _Tokens(joined, np.cumsum(lengths) - lengths, lengths)

    @property
    def _filler_id(self) -> int:
        tokenizer = self._tokenizer
        for token in (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id):
            if token is not None:
                return int(token)
        return 0

    def _encode_by_length(
        self, tokens: _Tokens
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Rows and their vectors, longest texts first, so that memory runs out at once or never."""
        order = np.argsort(-tokens.lengths, kind="stable")
        launched: list[tuple[NDArray[np.int64], torch.Tensor]] = []
        budget, at = self.batch_tokens, 0
        while at < len(order):
            length = int(tokens.lengths[order[at]])
            rows = order[at : at + max(1, budget // length)]
            try:
                launched.append((rows, self._forward(tokens, rows)))
            except torch.OutOfMemoryError:
                if len(rows) == 1:
                    raise
                budget = len(rows) * length // 2
                torch.cuda.empty_cache()
                continue
            at += len(rows)
            # A GPU is kept busy by fetching the results of several batches together.
            if len(launched) == _LAUNCHED_AT_ONCE.get(self.device.type, 1) or at == len(order):
                fetched = torch.cat([vectors for _, vectors in launched]).cpu().numpy()
                yield np.concatenate([rows for rows, _ in launched]), fetched
                launched = []

    @torch.inference_mode()
    def _forward(self, tokens: _Tokens, rows: NDArray[np.int64]) -> torch.Tensor:
        """(B, d) normalised vectors of these rows, on the device."""
        ids, mask = self._pad(tokens, rows)  # (B, L), (B, L)
        # Without padding the mask says nothing, and attention is faster without one.
        is_padded = int(tokens.lengths[rows].min()) < mask.shape[1]
        hidden = self._model(
            input_ids=ids, attention_mask=mask if is_padded else None
        ).last_hidden_state  # (B, L, d)
        return torch.nn.functional.normalize(pool(hidden, mask, self.identity.pooling), dim=1)

    def _pad(self, tokens: _Tokens, rows: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and mask, always padded on the right: positions then need no correction."""
        lengths = tokens.lengths[rows]
        mask = np.arange(lengths.max())[None, :] < lengths[:, None]
        ids = np.full(mask.shape, self._filler_id, dtype=np.int64)
        ids[mask] = np.concatenate(
            [
                tokens.ids[start : start + length]
                for start, length in zip(tokens.starts[rows], lengths, strict=True)
            ]
        )
        return self._to_device(torch.from_numpy(ids)), self._to_device(
            torch.from_numpy(mask.astype(np.int64))
        )

    def _to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)


def _fast_dtype(device: torch.device) -> torch.dtype:
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    # Nearly three times as fast as float32 where the CPU has the instructions, cosine > 0.9998.
    has = torch.cpu.get_capabilities()
    return torch.bfloat16 if has.get("avx512_bf16") or has.get("amx_bf16") else torch.float32


def _load_model(identity: EncoderIdentity, dtype: torch.dtype) -> Any:
    with _no_progress_bar():
        model, loading = AutoModel.from_pretrained(
            identity.folder,
            dtype=dtype,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    # We pool ourselves: a pooling head may be absent, anything else would be random numbers.
    missing = sorted(key for key in loading["missing_keys"] if "pooler" not in key)
    if missing:
        raise schema_error(
            f"weights in {identity.folder}",
            got=f"none for {', '.join(missing[:5])}",
            expected="all weights of the model that config.json declares",
            remedy="Use a folder written by save_pretrained.",
        )
    model = model.get_encoder() if model.config.is_encoder_decoder else model
    model.config.use_cache = False  # decoders would keep the states of every layer
    return model


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Only commands draw progress bars, and transformers draws one for loading weights."""
    was_enabled = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            transformers_logging.enable_progress_bar()
