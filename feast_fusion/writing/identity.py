"""What a writer is: all that decides what it writes about a text. Imports no torch."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feast_fusion.writing.attributes import Attributes
from feast_fusion.writing.model_place import ChatServer, LocalModel, find_local_model

# Raise it whenever a writer would be asked in another way, or its answers be read otherwise.
WRITING_VERSION = 1


@dataclass(frozen=True)
class WriterIdentity:
    """All that decides what is written about a text, and its short name.

    Attributes
    ----------
    writer_id : readable name and digest
    model : on this machine or behind a server
    attributes : what is written
    prompt : template with {text} and {attributes}
    max_characters : of a text; what is behind them is not read
    """

    writer_id: str
    model: LocalModel | ChatServer
    attributes: Attributes
    prompt: str
    max_characters: int


def describe_writer(
    model: str,
    attributes: Attributes,
    *,
    prompt: str,
    max_characters: int,
    server: Mapping[str, Any] | None = None,
    template: int | None = None,
) -> WriterIdentity:
    """The identity of a writer; loads no weights.

    Parameters
    ----------
    model : GGUF file, folder, hub name, or the name that a server knows
    server : fields of `ChatServer` but the name; None for a model on this machine
    template : version of the texts it will be given

    Raises
    ------
    FeatureNotFoundError, StoreUnavailableError, SchemaError, MissingExtraError
        As `find_local_model`.
    """
    place = find_local_model(model) if server is None else ChatServer(name=model, **server)
    asked = place.digest() if isinstance(place, LocalModel) else {"name": model}
    ingredients = {
        "model": asked,
        "choices": [[name, list(values)] for name, values in attributes.choices.items()],
        "words": list(attributes.words.items()),
        "texts": list(attributes.texts.items()),
        "prompt": prompt,
        "max_characters": max_characters,
        "template": template,
        "version": WRITING_VERSION,
    }
    digest = hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()
    writer_id = f"{_readable(model)}_{digest[:12]}"
    return WriterIdentity(writer_id, place, attributes, prompt, max_characters)


def _readable(model: str) -> str:
    """The last part of the model's name, fit for a table and folder name.

    >>> _readable("models/gemma-3-270m-q4_k_m.gguf")
    'gemma_3_270m_q4_k_m'
    """
    name = Path(model.split("@")[0]).name.removesuffix(".gguf").lower()
    return re.sub(r"[^a-z0-9]+", "_", name)[:32].strip("_") or "writer"
