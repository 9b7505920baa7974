"""The network of a model folder, loaded without running code that came with it."""

import importlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import PickleError
from typing import Any

import torch
from transformers import AutoConfig, AutoModel
from transformers.utils import logging as transformers_logging

from feast_fusion.encoding.transformer_config import TransformerConfig
from feast_fusion.errors import schema_error

# Of these encoder-decoders sentence-transformers runs the encoder; of others, as BART, the whole.
_ENCODERS = {
    "t5": "transformers:T5EncoderModel",
    "mt5": "transformers:MT5EncoderModel",
    "umt5": "transformers:UMT5EncoderModel",
    "longt5": "transformers:LongT5EncoderModel",
    "switch_transformers": "transformers:SwitchTransformersEncoderModel",
    "prophetnet": "transformers:ProphetNetEncoder",
    "blenderbot": "transformers.models.blenderbot.modeling_blenderbot:BlenderbotEncoder",
    "m2m_100": "transformers.models.m2m_100.modeling_m2m_100:M2M100Encoder",
    "pegasus": "transformers.models.pegasus.modeling_pegasus:PegasusEncoder",
    "marian": "transformers.models.marian.modeling_marian:MarianEncoder",
}


def load_transformer(transformer: TransformerConfig, dtype: torch.dtype) -> Any:
    """The model of token states, on the CPU, ready to be run.

    Raises
    ------
    SchemaError
        The model needs code of its own, or the folder lacks weights that its config.json declares.
    """
    folder = transformer.folder
    with failures_explained(folder), no_progress_bar():
        options = json.loads(transformer.config_options)
        config = AutoConfig.from_pretrained(
            folder, **options, trust_remote_code=False, local_files_only=True
        )
        model, loading = _class_of(config).from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            local_files_only=True,
            output_loading_info=True,
        )
    # We pool ourselves: a pooling head may be absent, anything else would be random numbers.
    missing = sorted(key for key in loading["missing_keys"] if "pooler" not in key)
    if missing:
        raise schema_error(
            f"weights in {folder}",
            got=f"none for {', '.join(missing[:5])}",
            expected="all weights of the model that config.json declares",
            remedy="Use a folder written by save_pretrained.",
        )
    model.config.use_cache = False  # decoders would keep the states of every layer
    return model.eval()


def _class_of(config: Any) -> Any:
    place = _ENCODERS.get(config.model_type)
    if place is None:
        return AutoModel
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


@contextmanager
def failures_explained(folder: Path) -> Iterator[None]:
    """A failure of transformers as a `SchemaError`, without its advice to run code of the model.

    Raises
    ------
    SchemaError
        The model needs code of its own, or its files cannot be read or do not fit each other.
    """
    try:
        yield
    except (
        ValueError,
        KeyError,
        ImportError,
        OSError,
        RuntimeError,
        EOFError,
        PickleError,
    ) as error:
        said = str(error).strip() or type(error).__name__
        if "trust_remote_code" in said or "does not recognize this architecture" in said:
            raise schema_error(
                f"model {folder}",
                got="a model of an architecture that the installed transformers does not have",
                expected="one that it has: code that comes with a model is never run",
                remedy="Choose another model, or a newer transformers that has its architecture.",
            ) from error
        raise schema_error(
            f"model {folder}",
            got=said.splitlines()[0],
            expected="weights and tokenizer as config.json declares them",
            remedy="Fetch the model again, or choose another.",
        ) from error


@contextmanager
def no_progress_bar() -> Iterator[None]:
    """Only commands draw progress bars, and transformers draws one for loading weights."""
    was_enabled = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            transformers_logging.enable_progress_bar()
