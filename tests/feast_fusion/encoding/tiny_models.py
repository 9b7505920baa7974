"""Tiny models of random weights, one of each family, saved as their authors would."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as tf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing

CORPUS = ["the quick brown fox jumps over the lazy dog", "a film of love and war", "星际穿越 电影"]
VOCABULARY = 320
POSITIONS = 80
_SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<mask>"]
_WIDE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": POSITIONS,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GROUPED = {**_WIDE, "num_key_value_heads": 1, "head_dim": 16}
_T5: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "d_kv": 16,
    "d_ff": 64,
    "num_layers": 2,
    "num_heads": 2,
    "pad_token_id": 0,
    "decoder_start_token_id": 0,
}


def _bart() -> tf.BartConfig:
    return tf.BartConfig(
        vocab_size=VOCABULARY,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=POSITIONS,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
    )


def _positioned(config: type, **more: Any) -> tf.PreTrainedConfig:
    """Positions start behind the padding token's: two rows of the table are no token's."""
    return config(**_WIDE | {"max_position_embeddings": POSITIONS + 2, "pad_token_id": 1} | more)


Make = Callable[[], tf.PreTrainedModel]
FAMILIES: dict[str, Make] = {
    "bert": lambda: tf.BertModel(tf.BertConfig(**_WIDE)),
    "roberta": lambda: tf.RobertaModel(_positioned(tf.RobertaConfig)),
    "xlm_roberta": lambda: tf.XLMRobertaModel(_positioned(tf.XLMRobertaConfig)),
    "mpnet": lambda: tf.MPNetModel(_positioned(tf.MPNetConfig)),
    "distilbert": lambda: tf.DistilBertModel(
        tf.DistilBertConfig(
            vocab_size=VOCABULARY,
            dim=32,
            hidden_dim=64,
            n_layers=2,
            n_heads=2,
            max_position_embeddings=POSITIONS,
        )
    ),
    "electra": lambda: tf.ElectraModel(tf.ElectraConfig(**_WIDE, embedding_size=16)),
    "albert": lambda: tf.AlbertModel(tf.AlbertConfig(**_WIDE, embedding_size=16)),
    "deberta": lambda: tf.DebertaV2Model(
        tf.DebertaV2Config(**_WIDE, relative_attention=True, pos_att_type=["p2c", "c2p"])
    ),
    "modernbert": lambda: tf.ModernBertModel(
        tf.ModernBertConfig(**_WIDE, cls_token_id=1, sep_token_id=2, global_attn_every_n_layers=2)
    ),
    "gpt2": lambda: tf.GPT2LMHeadModel(
        tf.GPT2Config(vocab_size=VOCABULARY, n_positions=POSITIONS, n_embd=32, n_layer=2, n_head=2)
    ),
    "llama": lambda: tf.LlamaForCausalLM(tf.LlamaConfig(**_GROUPED)),
    "mistral": lambda: tf.MistralModel(tf.MistralConfig(**_GROUPED, sliding_window=16)),
    "qwen2": lambda: tf.Qwen2Model(tf.Qwen2Config(**_GROUPED)),
    "qwen3": lambda: tf.Qwen3Model(tf.Qwen3Config(**_GROUPED)),
    "gemma3": lambda: tf.Gemma3TextModel(tf.Gemma3TextConfig(**_GROUPED, sliding_window=16)),
    "t5": lambda: tf.T5Model(tf.T5Config(**_T5)),
    "t5_encoder": lambda: tf.T5EncoderModel(tf.T5Config(**_T5)),
    "bart": lambda: tf.BartModel(_bart()),
}
DECODERS = ("gpt2", "llama", "mistral", "qwen2", "qwen3", "gemma3")


def save_model(
    folder: Path,
    family: str,
    *,
    pooling: dict[str, Any] | None = None,
    layers: list[tuple[str, str]] | None = None,
    transformer: str = "",
    sentence: dict[str, Any] | None = None,
    prompts: dict[str, Any] | None = None,
    spread: float = 0.1,
) -> Path:
    """A model with the files that sentence-transformers reads.

    Parameters
    ----------
    pooling : of 1_Pooling/config.json; None: no modules.json
    layers : (class, folder) of further modules
    transformer : folder of the transformer
    sentence, prompts : of sentence_bert_config.json and config_sentence_transformers.json
    spread : standard deviation of the weights
    """
    torch.manual_seed(7)
    inner = folder / transformer
    model = FAMILIES[family]()
    for parameter in model.parameters():  # far from the tiny numbers of a fresh model
        parameter.data.normal_(std=spread) if parameter.dim() > 1 else None
    model.save_pretrained(inner)
    tokenizer(is_framed=family not in DECODERS).save_pretrained(inner)
    if sentence is not None:
        (inner / "sentence_bert_config.json").write_text(json.dumps(sentence))
    if prompts is not None:
        (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    if pooling is not None:
        write_modules(folder, pooling, layers or [], transformer)
    return folder


def write_modules(
    folder: Path, pooling: dict[str, Any], layers: list[tuple[str, str]], transformer: str = ""
) -> None:
    named = [("Transformer", transformer), ("Pooling", "1_Pooling"), *layers]
    modules = [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for at, (kind, path) in enumerate(named)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 32} | pooling)
    )


def tokenizer(*, is_framed: bool) -> tf.PreTrainedTokenizerFast:
    """Byte-level BPE; `is_framed`: with a special token on each side of a text."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=_SPECIAL,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    trained.train_from_iterator(CORPUS, trainer)
    if is_framed:
        trained.post_processor = TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
        )
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=trained,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=POSITIONS,
    )
