"""A Hugging Face encoder or decoder as a `TextEncoder`: batches by length under a token budget."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from feast_fusion.encoding.compilation import (
    PAYS_FROM_OPERATIONS,
    compile_blocks,
    n_parameters,
    repeated_blocks,
)
from feast_fusion.encoding.encoder import TextEncoder
from feast_fusion.encoding.identity import EncoderIdentity
from feast_fusion.encoding.modules import Modules
from feast_fusion.encoding.network import SentenceNetwork
from feast_fusion.encoding.placement import chosen_device, chosen_dtype
from feast_fusion.encoding.precision import fast_dtype, is_precise
from feast_fusion.encoding.probes import probe, require_distinct
from feast_fusion.encoding.prompts import Role
from feast_fusion.encoding.text_tokenizer import TextTokenizer, Tokens
from feast_fusion.errors import schema_error

# Activations of a batch stay in a CPU's cache; a GPU is busy from about 10^5 tokens on.
_BATCH_TOKENS = {"cpu": 2048, "cuda": 65_536}
_PART = 4096  # texts that are tokenised together
_LAUNCHED_AT_ONCE = {"cpu": 1, "cuda": 16}


class TransformerEncoder(TextEncoder):
    """Encodes texts on one device.

    Parameters
    ----------
    identity : of a model of modules
    device, dtype, batch_tokens : see `Placement`

    Raises
    ------
    SchemaError
        The model cannot be loaded, gives another width than its files say, or gives different
        texts one vector.
    """

    def __init__(
        self,
        identity: EncoderIdentity,
        modules: Modules,
        *,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        batch_tokens: int | None = None,
    ) -> None:
        self.identity = identity
        self.device = chosen_device(device)
        self.batch_tokens = batch_tokens or _BATCH_TOKENS.get(self.device.type, 16_384)
        self._modules = modules
        self._tokenizer = TextTokenizer(modules.transformer, identity.max_tokens)
        self.dtype = chosen_dtype(dtype) or fast_dtype(self.device)
        is_tried = dtype is None and self.device.type == "cpu" and self.dtype != torch.float32
        self._network = self._load(torch.float32 if is_tried else self.dtype)
        self._n_multiplied = sum(map(n_parameters, repeated_blocks(self._network.transformer)))
        self._operations, self._is_compiled = 0.0, False
        exact = probe(self.encode)
        require_distinct(exact, modules.transformer.folder)
        if is_tried:
            self._keep_if_precise(exact)

    @property
    def n_special_tokens(self) -> int:
        """Special tokens that encoding adds to a text."""
        return self._tokenizer.n_special_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without special tokens, prompt and truncation."""
        return self._tokenizer.count(texts)

    def encode(self, texts: Sequence[str], role: Role = "item") -> NDArray[np.float32]:
        """(n, d) L2-normalised vectors in the order of `texts`; (0, d) for none.

        Each text stands behind the prompt of its role, and is cut at `max_tokens`.

        Raises
        ------
        SchemaError
            The model gave a vector that is not finite.
        """
        prompt = self.identity.prompts.of(role)
        n_prompt = self._tokenizer.n_prompt_tokens(prompt)
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for part, tokens in self._tokenised(texts, prompt):
            self._compile_where_it_pays(tokens)
            for rows, done in self._encode_by_length(tokens, n_prompt):
                vectors[part[rows]] = done
        n_bad = int((~np.isfinite(vectors).all(axis=1)).sum())
        if n_bad:
            raise self._not_finite(n_bad)
        return vectors

    def compile(self) -> None:
        """Make a GPU faster, as much work does by itself: see `encoding.compilation`."""
        if not self._is_compiled:
            self._is_compiled = True
            blocks = repeated_blocks(self._network.transformer)
            compile_blocks(blocks, self.encode, self.encoder_id)

    def _compile_where_it_pays(self, tokens: Tokens) -> None:
        """By what was computed, not by time, so that the same work has the same vectors."""
        if self.device.type == "cuda" and self._operations >= PAYS_FROM_OPERATIONS:
            self.compile()
        self._operations += 2.0 * self._n_multiplied * float(tokens.lengths.sum())

    def _tokenised(
        self, texts: Sequence[str], prompt: str
    ) -> Iterator[tuple[NDArray[np.int64], Tokens]]:
        """Rows and their tokens, longest texts first; a part is tokenised while another is encoded.

        A GPU would else wait for the tokens of all texts, which take longer than a small model.
        """
        order = np.argsort([-len(text) for text in texts], kind="stable")
        parts = [order[start : start + _PART] for start in range(0, len(order), _PART)]
        if len(parts) < 2:
            yield from ((part, self._tokens_of(texts, part, prompt)) for part in parts)
            return
        with ThreadPoolExecutor(1, "tokenise") as ahead:
            coming = ahead.submit(self._tokens_of, texts, parts[0], prompt)
            for part, following in zip(parts, [*parts[1:], None], strict=True):
                tokens = coming.result()
                if following is not None:
                    coming = ahead.submit(self._tokens_of, texts, following, prompt)
                yield part, tokens

    def _tokens_of(self, texts: Sequence[str], rows: NDArray[np.int64], prompt: str) -> Tokens:
        return self._tokenizer.tokenise([texts[row] for row in rows], prompt)

    def _load(self, dtype: torch.dtype) -> SentenceNetwork:
        network = SentenceNetwork(self._modules, self.dimension, dtype)
        return network.to(self.device).eval()

    def _keep_if_precise(self, exact: NDArray[np.float32]) -> None:
        self._network.transformer.to(self.dtype)
        if not is_precise(self.encode, exact, self.encoder_id):
            self.dtype = torch.float32
            self._network = self._load(torch.float32)  # rounding cannot be undone

    def _not_finite(self, n_bad: int) -> Exception:
        """The remedy: other weights where they are broken, else numbers that do not overflow."""
        named = self._network.named_parameters()
        broken = next((name for name, w in named if not bool(torch.isfinite(w).all())), None)
        if broken is not None:
            return schema_error(
                f"weights in {self._modules.transformer.folder}",
                got=f"numbers that are not finite in {broken}",
                expected="finite numbers",
                remedy="The file is damaged, or its training failed: fetch the model again.",
            )
        return schema_error(
            f"encoder {self.encoder_id} in {self.dtype}",
            got=f"{n_bad} vectors that are not finite",
            expected="finite numbers",
            remedy='Set [encoder] dtype = "float32", which does not overflow.',
        )

    def _encode_by_length(
        self, tokens: Tokens, n_prompt: int
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Rows and their vectors, longest texts first, so that memory runs out at once or never."""
        order = np.argsort(-tokens.lengths, kind="stable")
        launched: list[tuple[NDArray[np.int64], torch.Tensor]] = []
        budget, at = self.batch_tokens, 0
        while at < len(order):
            length = int(tokens.lengths[order[at]])
            rows = order[at : at + max(1, budget // length)]
            try:
                launched.append((rows, self._forward(tokens, rows, n_prompt)))
            except RuntimeError as error:
                if len(rows) == 1 or not _is_lack_of_memory(error):
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
    def _forward(self, tokens: Tokens, rows: NDArray[np.int64], n_prompt: int) -> torch.Tensor:
        """(B, d) normalised vectors of these rows, on the device."""
        ids, mask = map(self._to_device, self._tokenizer.pad(tokens, rows))  # (B, L), (B, L)
        is_padded = int(tokens.lengths[rows].min()) < mask.shape[1]
        vectors: torch.Tensor = self._network(ids, mask, is_padded=is_padded, n_prompt=n_prompt)
        return vectors

    def _to_device(self, array: NDArray[np.int64]) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)


def _is_lack_of_memory(error: RuntimeError) -> bool:
    """A GPU has a class for it, a CPU only words."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
