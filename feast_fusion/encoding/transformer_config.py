"""What the files of a transformer say of its input and width. Imports no torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feast_fusion.encoding.model_files import read_json
from feast_fusion.errors import schema_error

# Their positions start behind the padding token's, so that many rows of the table are no token's.
_OFFSET_POSITIONS = (
    "roberta",
    "xlm-roberta",
    "xlm-roberta-xl",
    "roberta-prelayernorm",
    "camembert",
    "mpnet",
    "longformer",
    "data2vec-text",
    "xmod",
    "ibert",
    "esm",
    "luke",
)
# Their positions are relative: n_positions is no bound.
_RELATIVE_POSITIONS = ("t5", "mt5", "umt5", "longt5", "switch_transformers")
_UNBOUNDED_TOKENS = 512
_SENTENCE_CONFIGS = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_NOT_APPLIED = (
    "query_length",
    "document_length",
    "query_expansion",
    "processing_kwargs",
    "tokenizer_name_or_path",
)


@dataclass(frozen=True)
class TransformerConfig:
    """The transformer of a model, as sentence-transformers saved it.

    Attributes
    ----------
    folder : of config.json, weights and tokenizer
    max_seq_length : tokens that its authors meant it for; None where they do not say
    do_lower_case : whether texts are put in lower case first
    tokenizer_options, config_options : JSON of what the tokenizer and the configuration are loaded
        with
    """

    folder: Path
    max_seq_length: int | None = None
    do_lower_case: bool = False
    tokenizer_options: str = "{}"
    config_options: str = "{}"

    def ingredients(self) -> dict[str, object]:
        """What differs from a plain transformer; max_seq_length is part of max_tokens."""
        given = {
            "do_lower_case": self.do_lower_case,
            "tokenizer_options": json.loads(self.tokenizer_options),
            "config_options": json.loads(self.config_options),
        }
        return {name: value for name, value in given.items() if value}


def read_transformer(folder: Path) -> TransformerConfig:
    """What sentence_bert_config.json, or its namesake of another family, says.

    Raises
    ------
    SchemaError
        It asks for what is not built in.
    """
    found = (folder / name for name in _SENTENCE_CONFIGS)
    path = next((path for path in found if path.is_file()), folder / _SENTENCE_CONFIGS[0])
    config = read_json(path)
    _refuse_other_outputs(path, config)
    return TransformerConfig(
        folder,
        config.get("max_seq_length"),
        bool(config.get("do_lower_case")),
        _options(config, "processor_kwargs", "tokenizer_args"),
        _options(config, "config_kwargs", "config_args"),
    )


def _options(config: dict[str, Any], *names: str) -> str:
    """Options under the new name or the old one; whose code runs is not the model's choice."""
    given: dict[str, Any] = next((config[name] for name in names if config.get(name)), {})
    kept = {key: value for key, value in given.items() if key != "trust_remote_code"}
    return json.dumps(kept, sort_keys=True)


def _refuse_other_outputs(path: Path, config: dict[str, Any]) -> None:
    text = config.get("modality_config", {}).get("text", {})
    odd = {
        "transformer_task": config.get("transformer_task", "feature-extraction"),
        "module_output_name": config.get("module_output_name", "token_embeddings"),
        "method": text.get("method", "forward"),
        "method_output_name": text.get("method_output_name", "last_hidden_state"),
    }
    plain = ("feature-extraction", "token_embeddings", "forward", "last_hidden_state")
    wrong = [f"{k} = {v}" for (k, v), usual in zip(odd.items(), plain, strict=True) if v != usual]
    wrong += [f"{key} = {config[key]}" for key in _NOT_APPLIED if config.get(key)]
    if wrong:
        raise schema_error(
            str(path),
            got=", ".join(wrong),
            expected="token states of the last layer, texts as they are",
            remedy="Choose another model: this option is not built in.",
        )


def read_dimension(folder: Path) -> int:
    """Width of the model's token states, from config.json.

    Raises
    ------
    SchemaError
        config.json does not say it.
    """
    config = read_json(folder / "config.json")
    config = {**config.get("text_config", {}), **config}
    # The projection behind the last layer of some OPT; the names of other families.
    keys = ("word_embed_proj_dim", "hidden_size", "d_model", "n_embd", "emb_dim", "dim")
    for key in keys if config.get("model_type") == "opt" else keys[1:]:
        if isinstance(config.get(key), int):
            return int(config[key])
    raise schema_error(
        f"{folder / 'config.json'}",
        got=f"keys {sorted(config)}",
        expected="hidden_size",
        remedy="Use a text model of the Hugging Face format.",
    )


def read_token_limit(transformer: TransformerConfig) -> tuple[int | None, str]:
    """The most tokens the model takes, special tokens included, and the file that says it.

    None where it has no bound.
    """
    folder = transformer.folder
    config = read_json(folder / "config.json") | json.loads(transformer.config_options)
    kind = config.get("model_type")
    positions = config.get("max_position_embeddings")
    if positions is None and kind not in _RELATIVE_POSITIONS:
        positions = config.get("n_positions")
    if positions is not None and positions > 0 and kind in _OFFSET_POSITIONS:
        pad = 1 if kind == "mpnet" else config.get("pad_token_id")
        positions -= (1 if pad is None else pad) + 1
    tokenizer = read_json(folder / "tokenizer_config.json").get("model_max_length")
    limits = [(positions, "config.json"), (tokenizer, "tokenizer_config.json")]
    # Tokenizers without a bound of their own declare about 1e30; XLNet declares -1.
    known = [(int(n), name) for n, name in limits if n is not None and 0 < n < 10**9]
    return min(known, default=(None, ""))


def choose_max_tokens(transformer: TransformerConfig, asked: int | None) -> int:
    """Tokens that are read of a text: as asked, else as the model's authors meant it.

    Raises
    ------
    SchemaError
        The model takes fewer than asked.
    """
    limit, file = read_token_limit(transformer)
    if asked is None:
        meant = transformer.max_seq_length or limit or _UNBOUNDED_TOKENS
        return min(meant, limit) if limit is not None else meant
    if limit is not None and asked > limit:
        raise schema_error(
            "[encoder] max_tokens",
            got=asked,
            expected=f"at most {limit}, as {transformer.folder / file} says",
            remedy="Lower it, leave it out, or choose a model for longer texts.",
        )
    return asked
