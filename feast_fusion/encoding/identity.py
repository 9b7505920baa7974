"""What an encoder is: all that decides the vector of a text.

Importing this module imports neither torch nor transformers.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from feast_fusion.encoding.model_folder import (
    POOLINGS,
    digest_files,
    find_model_folder,
    read_dimension,
    read_pooling,
    read_token_limit,
)
from feast_fusion.errors import schema_error


@dataclass(frozen=True)
class EncoderIdentity:
    """All that decides the vector of a text, and its short name `encoder_id`."""

    encoder_id: str
    dimension: int
    folder: Path
    pooling: str
    max_tokens: int
    prompt: str


def describe_encoder(
    model: str | Path,
    *,
    max_tokens: int = 256,
    pooling: str | None = None,
    prompt: str = "",
    template: int | None = None,
) -> EncoderIdentity:
    """The identity of an encoder, from the digests of its files; loads no weights.

    Parameters
    ----------
    model : a hub name, "name@revision", or a folder
    max_tokens : a longer text is cut there, special tokens included
    pooling : one of mean, cls, last, weighted_mean, max; None as the model says
    prompt : put before every text
    template : version of the code that makes the texts, part of the id; None where texts are
        encoded as they are

    Returns
    -------
    An identity whose `encoder_id` matches `^[a-z0-9_]+$` without a double underscore, so that a
    view's name can carry it.

    Raises
    ------
    FeatureNotFoundError, StoreUnavailableError, MissingExtraError
        The model is not there; see `find_model_folder`.
    SchemaError
        The pooling is unknown, or the model takes fewer than `max_tokens` tokens.
    """
    folder = find_model_folder(model)
    pooling = pooling if pooling is not None else read_pooling(folder)
    if pooling not in POOLINGS:
        raise schema_error(
            "[encoder] pooling",
            got=pooling,
            expected=f"one of {', '.join(POOLINGS)}",
            remedy="Correct it, or leave it out to use the model's own.",
        )
    limit = read_token_limit(folder)
    if limit is not None and max_tokens > limit:
        raise schema_error(
            "[encoder] max_tokens",
            got=max_tokens,
            expected=f"at most {limit} for {model}",
            remedy="Lower it, or choose a model for longer texts.",
        )
    ingredients = {
        "files": digest_files(folder),
        "pooling": pooling,
        "max_tokens": max_tokens,
        "prompt": prompt,
        "dimension": read_dimension(folder),
        "normalisation": "l2",
        "template": template,
    }
    digest = hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()
    encoder_id = f"{_readable(model)}_{digest[:12]}"
    return EncoderIdentity(encoder_id, read_dimension(folder), folder, pooling, max_tokens, prompt)


def _readable(model: str | Path) -> str:
    """The last part of the model's name, fit for a column, table and folder name."""
    name = Path(str(model).split("@")[0]).expanduser().resolve().name
    return re.sub(r"[^a-z0-9]+", "_", name.lower())[:32].strip("_") or "encoder"
