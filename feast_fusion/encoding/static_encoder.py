"""A static embedding as a `TextEncoder`: one vector per token from a table, and their mean.

The tables of sentence-transformers (StaticEmbedding) and of model2vec (Tulkens and van Dongen,
2024), which weighs tokens, leaves unknown ones out and may let several share a row.
"""

import json
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from tokenizers import Tokenizer

from feast_fusion.encoding.encoder import TextEncoder
from feast_fusion.encoding.identity import EncoderIdentity
from feast_fusion.encoding.layers import load_layers
from feast_fusion.encoding.modules import StaticModule
from feast_fusion.encoding.probes import probe, require_distinct
from feast_fusion.encoding.prompts import Role
from feast_fusion.encoding.static_files import read_static_table

_TEXTS_AT_ONCE = 4096
_LONGEST_TOKEN = 1_000


class StaticEncoder(TextEncoder):
    """Looks vectors up on the CPU; there is nothing for a GPU to do.

    Raises
    ------
    SchemaError
        The table or a layer is not what the files declare, or different texts have one vector.
    """

    n_special_tokens = 0

    def __init__(self, identity: EncoderIdentity, module: StaticModule) -> None:
        self.identity = identity
        table = read_static_table(module.folder)
        self._table = _load_table(load_file(table.path), table.name)  # (tokens, d)
        self._tokenizer = Tokenizer.from_file(str(module.folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._left_out = _unknown_token(self._tokenizer) if table.is_model2vec else None
        self._max_characters = identity.max_tokens * (
            _median_length(self._tokenizer) if table.is_model2vec else _LONGEST_TOKEN
        )
        self._layers = load_layers(module.layers)
        require_distinct(probe(self.encode), module.folder)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""
        return [len(ids) for ids in self._ids_of(texts)]

    def encode(self, texts: Sequence[str], role: Role = "item") -> NDArray[np.float32]:
        """(n, d) L2-normalised vectors in the order of `texts`; zeros where no token is known."""
        prompt = self.identity.prompts.of(role)
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            part = [prompt + text for text in texts[start : start + _TEXTS_AT_ONCE]]
            vectors[start : start + len(part)] = self._encode_part(self._ids_of(part))
        return vectors

    def _ids_of(self, texts: Sequence[str]) -> list[list[int]]:
        cut = [text[: self._max_characters] for text in texts]
        readable = [text.encode("utf-8", "replace").decode("utf-8") for text in cut]
        encoded = self._tokenizer.encode_batch_fast(readable, add_special_tokens=False)
        read = (one.ids[: self.identity.max_tokens] for one in encoded)
        return [[n for n in ids if n != self._left_out] for ids in read]

    @torch.inference_mode()
    def _encode_part(self, ids: list[list[int]]) -> NDArray[np.float32]:
        lengths = [len(one) for one in ids]
        starts = torch.from_numpy(np.cumsum([0, *lengths[:-1]], dtype=np.int64))
        flat = torch.tensor([n for one in ids for n in one], dtype=torch.int64)
        means = torch.nn.functional.embedding_bag(flat, self._table, starts, mode="mean")
        cut = self._layers(means)[:, : self.dimension]
        vectors: NDArray[np.float32] = torch.nn.functional.normalize(cut, dim=1).numpy()
        return vectors


def _load_table(tensors: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    """(tokens, d) float32: model2vec's shared rows spread out and weighed."""
    table = tensors[name]
    if "mapping" in tensors:
        table = table[tensors["mapping"].long()]
    if "weights" in tensors:
        table = table.float() * tensors["weights"].float().unsqueeze(1)
    return table.float().contiguous()


def _unknown_token(tokenizer: Tokenizer) -> int | None:
    if hasattr(tokenizer.model, "unk_token"):
        token = tokenizer.model.unk_token
        return tokenizer.token_to_id(token) if token else None
    unknown: int | None = json.loads(tokenizer.to_str())["model"].get("unk_id")  # of Unigram
    return unknown


def _median_length(tokenizer: Tokenizer) -> int:
    """Characters of a token: model2vec cuts a text by them before it makes tokens of it."""
    return int(np.median([len(token) for token in tokenizer.get_vocab()]))
