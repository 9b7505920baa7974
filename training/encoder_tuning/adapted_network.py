"""The network of an encoder with weights that learn, from texts to vectors and back to a folder."""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

import numpy as np
import torch
from torch import Tensor

from feast_fusion.encoding.identity import EncoderIdentity
from feast_fusion.encoding.model_loading import no_progress_bar
from feast_fusion.encoding.modules import Modules
from feast_fusion.encoding.network import SentenceNetwork
from feast_fusion.encoding.placement import chosen_device
from feast_fusion.encoding.precision import fast_dtype
from feast_fusion.encoding.prompts import Role
from feast_fusion.encoding.text_tokenizer import TextTokenizer
from feast_fusion.errors import extra_required, schema_error

# Weights of the base in any form, which are not those of the result, and what is said of the base.
_NOT_COPIED = (
    "*.safetensors", "*.bin", "*.index.json", "*.h5", "*.msgpack", "*.onnx", "*.ot", "*.gguf",
    "onnx", "openvino", "README.md", ".*", "tuning.json",
)  # fmt: skip
_BATCH_TOKENS = {"cpu": 2048}
ALL_LAYERS = 1_000_000
_LAYER = re.compile(r"\.(\d+)\.")  # of "encoder.layer.5.attention.self.query.weight" the 5


class AdaptedNetwork:
    """An encoder whose transformer learns, all weights or low-rank changes of them.

    Parameters
    ----------
    folder : of the model
    identity : of the model, which is one of modules
    rank, targets, layers : see `TuningSettings`

    Raises
    ------
    SchemaError
        The model is static or a server's; no layer of `targets` is there.
    MissingExtraError
        peft is not installed.
    """

    def __init__(
        self,
        folder: Path,
        identity: EncoderIdentity,
        *,
        rank: int | None,
        targets: Sequence[str] = (),
        layers: int = ALL_LAYERS,
        device: str | None = None,
    ) -> None:
        self.modules = require_modules(identity)
        self.folder, self.identity = folder, identity
        self.device = chosen_device(device)
        self.tokenizer = TextTokenizer(self.modules.transformer, identity.max_tokens)
        self._network = SentenceNetwork(self.modules, identity.dimension, torch.float32)
        self._network.requires_grad_(False)
        if rank is None:
            self.transformer.requires_grad_(True)
        else:
            self._network.transformer = _with_adapters(self.transformer, rank, targets)
        _freeze_below(self.transformer, layers)
        self._network.to(self.device).eval()
        self.dtype = fast_dtype(self.device)

    @property
    def transformer(self) -> Any:
        """The model of token states, with its adapters."""
        return self._network.transformer

    @property
    def learned(self) -> dict[str, torch.nn.Parameter]:
        """The weights that learn, by name."""
        return {name: w for name, w in self._network.named_parameters() if w.requires_grad}

    def encode(self, texts: Sequence[str], role: Role = "item") -> Tensor:
        """(n, d) L2-normalised vectors through which gradients flow."""
        prompt = self.identity.prompts.of(role)
        tokens = self.tokenizer.tokenise(texts, prompt)
        n_prompt = self.tokenizer.n_prompt_tokens(prompt)
        order = np.argsort(-tokens.lengths, kind="stable")
        parts, at = [], 0
        while at < len(order):
            budget = _BATCH_TOKENS.get(self.device.type, 16_384)
            rows = order[at : at + max(1, budget // int(tokens.lengths[order[at]]))]
            ids, mask = (
                torch.from_numpy(each).to(self.device) for each in self.tokenizer.pad(tokens, rows)
            )
            is_padded = bool((mask == 0).any())
            with self.precision():
                parts.append(self._network(ids, mask, is_padded=is_padded, n_prompt=n_prompt))
            at += len(rows)
        if not parts:
            return torch.zeros((0, self.identity.dimension), device=self.device)
        back = torch.from_numpy(np.argsort(order)).to(self.device)
        return torch.cat(parts)[back]

    def precision(self) -> Any:
        """Matrices multiply in the fastest numbers of the device; weights stay float32."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def save(self, folder: Path) -> None:
        """Write the model with its changed weights; the network is of no more use.

        folder : empty
        """
        copytree(self.folder, folder, dirs_exist_ok=True, ignore=ignore_patterns(*_NOT_COPIED))
        place = folder / self.modules.transformer.folder.relative_to(self.folder)
        for layer in self.modules.layers:
            if layer.kind != "Normalize":
                copytree(
                    layer.folder, folder / layer.folder.relative_to(self.folder), dirs_exist_ok=True
                )
        merged = self.transformer
        if hasattr(merged, "merge_and_unload"):
            merged = merged.merge_and_unload()
        with no_progress_bar():
            merged.cpu().save_pretrained(place)
        for path in place.glob("*.safetensors"):
            path.chmod(0o644)  # safetensors lets nobody else read what it writes


def require_modules(identity: EncoderIdentity) -> Modules:
    """The modules of an encoder that can be tuned.

    Raises
    ------
    SchemaError
        It is static or a server's.
    """
    if isinstance(identity.model, Modules):
        return identity.model
    kind = type(identity.model).__name__
    raise schema_error(
        "[encoder] model",
        got="a static table" if kind == "StaticModule" else "a model behind a server",
        expected="a transformer that is computed here, whose weights can be changed",
        remedy="Name a folder or a hub name of a transformer in [encoder] model.",
    )


def _with_adapters(transformer: Any, rank: int, targets: Sequence[str]) -> Any:
    with extra_required("tune"):
        import peft
    linear = {
        name.rsplit(".", 1)[-1]
        for name, module in transformer.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    unknown = sorted(set(targets) - linear)
    if unknown:
        raise schema_error(
            "layers that low-rank changes are for",
            got=", ".join(unknown),
            expected=f"last parts of names of linear layers: any of {', '.join(sorted(linear))}",
            remedy="Correct them, or leave them out to change all.",
        )
    config = peft.LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules=list(targets) or "all-linear"
    )
    with warnings.catch_warnings():
        # Of an attribute that transformers renamed, which peft still asks for.
        warnings.simplefilter("ignore", FutureWarning)
        return peft.get_peft_model(transformer, config)


def _freeze_below(transformer: Any, n_layers: int) -> None:
    """Let only the last layers learn, and no embeddings; everything if there are fewer layers."""
    found = {name: _LAYER.search(name) for name, _ in transformer.named_parameters()}
    n_all = 1 + max((int(layer[1]) for layer in found.values() if layer), default=-1)
    if n_layers > n_all:
        return
    for name, weight in transformer.named_parameters():
        layer = found[name]
        if layer is None or int(layer[1]) < n_all - n_layers:
            weight.requires_grad_(False)
