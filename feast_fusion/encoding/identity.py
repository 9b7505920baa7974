"""What an encoder is: all that decides the vector of a text.

Importing this module imports neither torch nor transformers.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from feast_fusion.encoding.layers_config import Layer
from feast_fusion.encoding.model_files import digest_files, read_json
from feast_fusion.encoding.model_folder import find_model_folder
from feast_fusion.encoding.modules import Modules, StaticModule, read_modules
from feast_fusion.encoding.prompts import Prompts, Role, read_prompts
from feast_fusion.encoding.remote_model import (
    UNBOUNDED_TOKENS,
    RemoteModel,
    require_remote_options,
)
from feast_fusion.encoding.static_files import read_static_table
from feast_fusion.encoding.transformer_config import choose_max_tokens, read_dimension
from feast_fusion.errors import schema_error


@dataclass(frozen=True)
class EncoderIdentity:
    """All that decides the vector of a text, and its short name `encoder_id`.

    Attributes
    ----------
    encoder_id : of vectors that may meet
    cache_id : under which vectors are kept; prompts are left out, as a text is kept with its own
    dimension : numbers of a vector
    model : the modules that compute it, or the server
    max_tokens : a longer text is cut there, prompt and special tokens included
    prompts : by role
    """

    encoder_id: str
    cache_id: str
    dimension: int
    model: Modules | StaticModule | RemoteModel
    max_tokens: int
    prompts: Prompts

    def cache_prefix(self, role: Role) -> str:
        """What stands before a text of this role in the cache: all that the model is given."""
        prompt = self.prompts.of(role)
        pools_all = not isinstance(self.model, Modules) or self.model.include_prompt
        return prompt if pools_all or not prompt else f"{prompt}\0"


def describe_encoder(
    model: str | Path,
    *,
    max_tokens: int | None = None,
    pooling: str | None = None,
    prompts: Mapping[str, str | None] | None = None,
    dimension: int | None = None,
    server: Mapping[str, Any] | None = None,
    template: int | str | None = None,
) -> EncoderIdentity:
    """The identity of an encoder, from the digests of its files; loads no weights.

    Parameters
    ----------
    model : a hub name, "name@revision", or a folder
    max_tokens : a longer text is cut there, prompt and special tokens included; None as the
        model's authors meant it
    pooling : one of `modules.POOLINGS`; None as the model says
    prompts : what stands before a text, by role (item, behaviour, query); absent as the model says
    dimension : leading numbers of a vector that are kept and normalised again, of a model trained
        for it (Matryoshka; Kusupati 2022, arXiv:2205.13147); None as the model says
    server : of a model that is not computed here, see `RemoteModel`; `model` is then its name there
        ("name@2" is the same name and another identity), `dimension` is needed, and a text is cut
        where the server likes it unless `max_tokens` is given
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
        An option is unknown, or more than the model has; a file of the model is not whole or asks
        for what is not built in.
    """
    if server is not None:
        width = require_remote_options(dimension, pooling)
        remote = RemoteModel(name=str(model).split("@")[0], **server)
        prompted, tokens = read_prompts(None, prompts or {}), max_tokens or UNBOUNDED_TOKENS
        return _identify(model, remote, {"server": str(model)}, width, tokens, prompted, template)
    folder = find_model_folder(model, partial(read_modules, pooling=pooling))
    modules = read_modules(folder, pooling)
    tokens = _max_tokens(modules, max_tokens)
    prompted = read_prompts(folder, prompts or {})
    width = _chosen_width(folder, _width(folder, modules), dimension)
    return _identify(model, modules, _ingredients(modules), width, tokens, prompted, template)


def _identify(
    name: str | Path,
    model: Modules | StaticModule | RemoteModel,
    computed: dict[str, object],
    width: int,
    tokens: int,
    prompts: Prompts,
    template: int | str | None,
) -> EncoderIdentity:
    ingredients = computed | {
        "max_tokens": tokens,
        "dimension": width,
        "normalisation": "l2",
        "template": template,
    }
    encoder_id = _name(name, ingredients | _prompt_ingredients(prompts))
    cache_id = _name(name, ingredients | _prompt_ingredients(Prompts()))
    return EncoderIdentity(encoder_id, cache_id, width, model, tokens, prompts)


def _max_tokens(modules: Modules | StaticModule, asked: int | None) -> int:
    if isinstance(modules, Modules):
        return choose_max_tokens(modules.transformer, asked)
    return asked or read_static_table(modules.folder).max_tokens


def _ingredients(modules: Modules | StaticModule) -> dict[str, object]:
    """Files and modules. What is plain is left out, so that new options change no old id."""
    layers = [layer.digest() for layer in modules.layers]
    behind = {"layers": layers} if any(layer["kind"] != "Normalize" for layer in layers) else {}
    if isinstance(modules, StaticModule):
        return {"files": digest_files(modules.folder), "pooling": "static", **behind}
    pooling = modules.pooling[0] if len(modules.pooling) == 1 else list(modules.pooling)
    prompt_rule = {} if modules.include_prompt else {"include_prompt": False}
    transformer = modules.transformer
    files = {"files": digest_files(transformer.folder), "pooling": pooling}
    return files | transformer.ingredients() | prompt_rule | behind


def _prompt_ingredients(prompts: Prompts) -> dict[str, object]:
    if prompts.item == prompts.behaviour == prompts.query:
        return {"prompt": prompts.item}
    return {"prompt": [prompts.item, prompts.behaviour, prompts.query]}


def _width(folder: Path, modules: Modules | StaticModule) -> int:
    """Numbers of the model's vector, as its files say."""
    if isinstance(modules, StaticModule):
        return _through(folder, read_static_table(modules.folder).width, modules.layers)
    width = read_dimension(modules.transformer.folder) * len(modules.pooling)
    return _through(folder, width, modules.layers)


def _through(folder: Path, width: int, layers: tuple[Layer, ...]) -> int:
    for layer in layers:
        if layer.width_in not in (0, width):
            raise schema_error(
                f"model {folder}",
                got=f"{width} numbers for {layer.kind}",
                expected=f"{layer.width_in}",
                remedy="Leave [encoder] pooling out, or fetch the model again.",
            )
        width = layer.width_out or width
    return width


def _chosen_width(folder: Path, width: int, asked: int | None) -> int:
    own = read_json(folder / "config_sentence_transformers.json").get("truncate_dim")
    chosen = asked or own or width
    if asked is not None and asked > width:
        raise schema_error(
            "[encoder] dimension",
            got=asked,
            expected=f"at most {width}, the width of {folder}",
            remedy="Lower it, or leave it out.",
        )
    return min(int(chosen), width)


def _name(model: str | Path, ingredients: dict[str, object]) -> str:
    digest = hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()
    return f"{_readable(model)}_{digest[:12]}"


def _readable(model: str | Path) -> str:
    """The last part of the model's name, fit for a column, table and folder name."""
    name = Path(str(model).split("@")[0]).expanduser().resolve().name
    return re.sub(r"[^a-z0-9]+", "_", name.lower())[:32].strip("_") or "encoder"
