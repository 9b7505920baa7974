"""The decoder and tokenizer of a local model, loaded without running code that came with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from feast_fusion.errors import extra_required
from feast_fusion.writing.model_place import LocalModel

with extra_required("writer"):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from feast_fusion.encoding.model_loading import failures_explained, no_progress_bar


def load_decoder(model: LocalModel, device: torch.device, dtype: torch.dtype) -> tuple[Any, Any]:
    """The network on `device`, and its tokenizer, which pads on the left; the last ones are kept.

    So the writers of items and of users, which have one model, load it once.

    Raises
    ------
    SchemaError
        Transformers cannot load it, or it needs code of its own.
    MissingExtraError
        A GGUF file, and the packages that read one are not installed.
    """
    return _load_kept(model, tuple(model.digest().items()), device, dtype)


@lru_cache(maxsize=1)
def _load_kept(
    model: LocalModel,
    _content: tuple[tuple[str, str], ...],
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[Any, Any]:
    place, file = (model.path.parent, model.path.name) if model.is_gguf else (model.path, None)
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with failures_explained(model.path), no_progress_bar():
        if file is None:
            tokenizer, network = _load(place, options, dtype)
        else:
            with _read_once(model.path):
                tokenizer, network = _load(place, options | {"gguf_file": file}, dtype)
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return network.to(device).eval(), tokenizer


def _load(place: Path, options: dict[str, Any], dtype: torch.dtype) -> tuple[Any, Any]:
    tokenizer = AutoTokenizer.from_pretrained(place, **options)
    return tokenizer, AutoModelForCausalLM.from_pretrained(place, dtype=dtype, **options)


@contextmanager
def _read_once(file: Path) -> Iterator[None]:
    """A GGUF file read once, not three times, for tokenizer, config and weights.

    The reader takes seconds for a vocabulary of 262,144, and transformers cannot be handed one.
    """
    with extra_required("writer"):
        import accelerate  # noqa: F401  transformers needs it for GGUF, and says so late
        import gguf

    class Reader(gguf.GGUFReader):  # type: ignore[misc]
        """Slices of a memmap cost several times those of an array on the same memory."""

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, np.asarray(value) if name == "data" else value)

    reader = Reader(file)
    of_gguf = gguf.GGUFReader
    gguf.GGUFReader = lambda *_: reader
    try:
        yield
    finally:
        gguf.GGUFReader = of_gguf
