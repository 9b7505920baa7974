"""A model that cannot be what its authors made is refused, with what is wrong and what to do."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertTokenizer,
    FNetConfig,
    FNetModel,
    OPTConfig,
    OPTModel,
    XLMConfig,
    XLMModel,
    XLNetConfig,
    XLNetModel,
)

from feast_fusion.encoding.encoder import load_encoder
from feast_fusion.encoding.identity import describe_encoder
from feast_fusion.encoding.modules import read_modules
from feast_fusion.encoding.probes import PROBES
from feast_fusion.encoding.prompts import Prompts
from feast_fusion.errors import FeatureNotFoundError, SchemaError, StoreUnavailableError
from tests.feast_fusion.encoding.conftest import MINILM
from tests.feast_fusion.encoding.tiny_models import (
    POSITIONS,
    VOCABULARY,
    save_model,
    tokenizer,
    write_modules,
)

MEAN = {"pooling_mode_mean_tokens": True}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("whole"), "bert", pooling=MEAN)


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A model of which a test may break something."""
    return Path(shutil.copytree(whole, tmp_path / "model"))


@pytest.mark.parametrize("model", ["./nowhere", "/no/such/folder", Path("nowhere"), "a b"])
def test_a_folder_that_is_not_there_is_named(model: str | Path) -> None:
    with pytest.raises(FeatureNotFoundError, match=re.escape(str(model))):
        describe_encoder(model)


def test_a_folder_without_weights_is_named(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(FeatureNotFoundError, match=r"model\.safetensors"):
        describe_encoder(folder)


def test_a_missing_shard_is_missing_weights(folder: Path) -> None:
    shard = folder / "model-00001-of-00001.safetensors"
    (folder / "model.safetensors").rename(shard)
    index = {"weight_map": {"embeddings.word_embeddings.weight": shard.name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert describe_encoder(folder).dimension == 32
    shard.unlink()
    with pytest.raises(FeatureNotFoundError):
        describe_encoder(folder)


def test_a_model_that_cannot_be_fetched_is_named() -> None:
    with pytest.raises(StoreUnavailableError, match="nobody/no-such-model"):
        describe_encoder("nobody/no-such-model")


# Tokenizer


def test_a_folder_without_a_tokenizer_is_refused(folder: Path) -> None:
    for path in folder.glob("*token*"):
        path.unlink()
    with pytest.raises(FeatureNotFoundError, match="no tokenizer file"):
        describe_encoder(folder)


def test_a_tokenizer_that_knows_no_word_is_refused(folder: Path) -> None:
    for path in folder.glob("*token*"):
        path.unlink()
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    BertTokenizer(vocab={word: at for at, word in enumerate(vocabulary)}).save_pretrained(folder)
    with pytest.raises(SchemaError, match="different texts to have different vectors"):
        load_encoder(folder, device="cpu")


# Pooling


@pytest.mark.parametrize("lost", ["modules.json", "1_Pooling"])
def test_a_folder_that_lost_its_pooling_is_refused_with_the_choice(folder: Path, lost: str) -> None:
    path = folder / lost
    path.unlink() if path.is_file() else shutil.rmtree(path)
    with pytest.raises(SchemaError, match=r"pooling = one of mean, cls, last"):
        describe_encoder(folder)
    assert read_modules(folder, "cls").pooling == ("cls",)
    assert describe_encoder(folder, pooling="mean").dimension == 32


def test_a_hub_cache_that_lost_its_pooling_is_refused_with_the_choice(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a cache of the hub lies on disk, in a process that cannot reach the hub."""
    repository = tmp_path / "hub" / "models--someone--tiny"
    snapshot = repository / "snapshots" / ("a" * 40)
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("a" * 40)
    shutil.copytree(folder, snapshot)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert describe_encoder("someone/tiny").model.transformer.folder == snapshot
    (snapshot / "modules.json").unlink()
    with pytest.raises(SchemaError, match=r"no modules\.json.*pooling = one of mean, cls"):
        describe_encoder("someone/tiny")
    assert describe_encoder("someone/tiny", pooling="cls").model.pooling == ("cls",)


def test_a_wrong_pooling_lists_the_right_ones() -> None:
    with pytest.raises(SchemaError, match=r"got median, expected one of mean, cls"):
        describe_encoder(MINILM, pooling="median")


@pytest.mark.parametrize(
    ("pooling", "layers", "said"),
    [
        (MEAN, [("CNN", "2_CNN")], "modules Transformer, Pooling, CNN"),
        ({"pooling_mode": "attention"}, [], "pooling attention"),
    ],
)
def test_what_is_not_built_in_is_refused(
    folder: Path, pooling: dict[str, Any], layers: list[tuple[str, str]], said: str
) -> None:
    write_modules(folder, pooling, layers)
    with pytest.raises(SchemaError, match=said):
        describe_encoder(folder)


def test_a_module_of_the_models_own_is_never_run(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["type"] = "modeling_own.Transformer"
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(SchemaError, match=r"modeling_own.*never run"):
        describe_encoder(folder)


@pytest.mark.parametrize(
    "sentence",
    [{"transformer_task": "fill-mask"}, {"query_expansion": {"length": 32}}, {"query_length": 32}],
    ids=str,
)
def test_an_input_rule_that_is_not_built_in_is_refused(
    folder: Path, sentence: dict[str, Any]
) -> None:
    (folder / "sentence_bert_config.json").write_text(json.dumps(sentence))
    with pytest.raises(SchemaError, match=next(iter(sentence))):
        describe_encoder(folder)


def test_an_adapter_alone_is_refused(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(SchemaError, match="merge_and_unload"):
        describe_encoder(folder)


# Weights


def test_a_pointer_of_git_lfs_is_told_from_weights(folder: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 90868376\n"
    (folder / "model.safetensors").write_text(pointer)
    with pytest.raises(SchemaError, match=r"model\.safetensors: got a pointer of Git LFS"):
        describe_encoder(folder)


@pytest.mark.parametrize("kept", [0, 4, 200, -1])
def test_truncated_weights_are_named(folder: Path, kept: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(SchemaError, match=r"model\.safetensors: got .* bytes.*truncated"):
        describe_encoder(folder)


def test_damaged_json_is_named(folder: Path) -> None:
    (folder / "config.json").write_text('{"hidden_size": 3')
    with pytest.raises(SchemaError, match=r"config\.json: got .*expected JSON"):
        describe_encoder(folder)


def test_absent_weights_are_refused_not_made_up(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SchemaError, match=r"none for encoder\.layer\.1\.output\.dense\.weight"):
        load_encoder(folder, device="cpu")


@pytest.mark.parametrize("kept", [0, 100, -100])
def test_truncated_pickled_weights_are_refused(folder: Path, kept: int) -> None:
    path = folder / "model.safetensors"
    torch.save(load_file(path), folder / "pytorch_model.bin")
    path.unlink()
    content = (folder / "pytorch_model.bin").read_bytes()
    (folder / "pytorch_model.bin").write_bytes(content[:kept])
    with pytest.raises(SchemaError, match=re.escape(str(folder))):
        load_encoder(folder, device="cpu")


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 48}))
    with pytest.raises(SchemaError, match="expected weights and tokenizer as config"):
        load_encoder(folder, device="cpu")


@pytest.mark.parametrize("dtype", [None, "float32"])
def test_weights_that_are_no_numbers_are_the_files_fault(folder: Path, dtype: str | None) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.LayerNorm.bias"][0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SchemaError, match=r"not finite in .*LayerNorm\.bias.*fetch the model"):
        load_encoder(folder, device="cpu", dtype=dtype)


def test_an_overflow_is_the_precisions_fault(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    for name in ("intermediate", "output"):
        weights[f"encoder.layer.0.{name}.dense.weight"] *= 1e4
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SchemaError, match=r'Set \[encoder\] dtype = "float32"'):
        load_encoder(folder, device="cpu", dtype="float16")
    load_encoder(folder, device="cpu", dtype="float32")


# Architectures


def test_no_advice_to_run_code_of_the_model(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "nobodys", "auto_map": {"AutoModel": "modeling_nobody.Model"}}
    config.pop("architectures")
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(SchemaError, match="code that comes with a model is never run") as raised:
        load_encoder(folder, device="cpu")
    assert "trust_remote_code" not in str(raised.value)


def test_positions_behind_the_padding_token_are_no_room_for_text(tmp_path: Path) -> None:
    folder = save_model(tmp_path, "roberta", pooling=MEAN)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    del config["model_max_length"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    assert describe_encoder(folder).max_tokens == POSITIONS
    encoder = load_encoder(folder, device="cpu")
    encoder.encode(["long " * 500])
    with pytest.raises(SchemaError, match=f"at most {POSITIONS}, as .*config.json says"):
        describe_encoder(folder, max_tokens=POSITIONS + 1)


def test_the_tokenizers_limit_holds_where_nobody_wrote_another(folder: Path) -> None:
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"model_max_length": 30}))
    assert describe_encoder(folder).max_tokens == 30
    assert describe_encoder(folder, max_tokens=20).max_tokens == 20
    with pytest.raises(SchemaError, match=r"at most 30, as .*tokenizer_config\.json says"):
        describe_encoder(folder, max_tokens=31)


def _saved(folder: Path, model: torch.nn.Module) -> Path:
    model.save_pretrained(folder)
    tokenizer(is_framed=True).save_pretrained(folder)
    write_modules(folder, MEAN, [])
    return folder


def test_models_without_a_kernel_in_bfloat16_are_computed_in_float32(tmp_path: Path) -> None:
    torch.manual_seed(0)
    fnet = FNetConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, intermediate_size=64,
        max_position_embeddings=POSITIONS, tpu_short_seq_length=POSITIONS,
    )  # fmt: skip
    xlnet = XLNetConfig(vocab_size=VOCABULARY, d_model=32, n_layer=2, n_head=2, d_inner=64)
    for name, model in (("fnet", FNetModel(fnet)), ("xlnet", XLNetModel(xlnet))):
        encoder = load_encoder(_saved(tmp_path / name, model), device="cpu")
        assert encoder.encode(list(PROBES)).shape == (len(PROBES), 32)


def test_widths_of_projected_and_differently_named_models(tmp_path: Path) -> None:
    torch.manual_seed(0)
    opt = OPTConfig(
        vocab_size=VOCABULARY, hidden_size=32, word_embed_proj_dim=16, num_hidden_layers=2,
        num_attention_heads=2, ffn_dim=64, max_position_embeddings=POSITIONS,
        do_layer_norm_before=False,
    )  # fmt: skip
    xlm = XLMConfig(vocab_size=VOCABULARY, emb_dim=24, n_layers=2, n_heads=2)
    for name, model, width in (("opt", OPTModel(opt), 16), ("xlm", XLMModel(xlm), 24)):
        encoder = load_encoder(_saved(tmp_path / name, model), device="cpu")
        assert encoder.encode(["heat"]).shape == (1, width)


def test_another_width_than_declared_is_refused(folder: Path) -> None:
    write_modules(folder, MEAN, [("Dense", "2_Dense")])
    (folder / "2_Dense").mkdir()
    save_file({"linear.weight": torch.ones(8, 16)}, folder / "2_Dense" / "model.safetensors")
    declared = {"in_features": 16, "out_features": 8, "bias": False}
    (folder / "2_Dense" / "config.json").write_text(json.dumps(declared))
    with pytest.raises(SchemaError, match="got 32 numbers for Dense, expected 16"):
        describe_encoder(folder)


# Options


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"device": "gpu"}, r"\[encoder\] device: got gpu, expected one of cpu"),
        ({"device": "cuda:99"}, r"\[encoder\] device: got cuda:99"),
        ({"dtype": "int8"}, r"\[encoder\] dtype: got int8, expected one of float32"),
        ({"prompts": {"document": "x"}}, r"prompts: got document, expected any of item"),
    ],
)
def test_an_unknown_option_lists_the_known_ones(
    whole: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(SchemaError, match=said):
        load_encoder(whole, **options)


def test_no_prompt_of_a_model_without_prompts(whole: Path) -> None:
    assert describe_encoder(whole).prompts == Prompts()
