"""Vectors are those of sentence-transformers' own encode, for every family and module setting."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, LayerNorm, Normalize

from feast_fusion.encoding.encoder import load_encoder
from feast_fusion.encoding.identity import describe_encoder
from feast_fusion.encoding.model_folder import find_model_folder
from feast_fusion.encoding.precision import fast_dtype
from feast_fusion.encoding.prompts import Role
from feast_fusion.errors import SchemaError
from tests.feast_fusion.encoding.conftest import MINILM
from tests.feast_fusion.encoding.tiny_models import FAMILIES, save_model

TEXTS = [
    "Toy Story (1995). Genres: Animation, Comedy.",
    "a",
    "星际穿越。科幻片。",
    "A FILM of LOVE and WAR",
    "😀👩‍👩‍👧 film",
    "long " * 300,
    "Toy Story (1995). Genres: Animation, Comedy.",
    "فيلم عن الحب",
    "liked Heat; Alien; The Godfather, Part II. disliked Jaws.",
]
MEAN = {"pooling_mode_mean_tokens": True}


def expected_of(folder: Path, texts: Sequence[str] = TEXTS, **options: Any) -> NDArray[np.float32]:
    """One text at a time: sentence-transformers itself moves some with the padding of a batch."""
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    return model.encode(list(texts), batch_size=1, normalize_embeddings=True, **options)


def lowest_cosine(left: NDArray[np.float32], right: NDArray[np.float32]) -> float:
    return float(np.sum(left.astype(np.float64) * right, axis=1).min())


def require_equal(folder: Path, expected: NDArray[np.float32], **options: Any) -> None:
    """In float32 and in the default precision; shuffled, in small batches, with duplicates."""
    order = np.random.default_rng(0).permutation(len(TEXTS))
    shuffled = [TEXTS[at] for at in order]
    for dtype, least in ((torch.float32, 0.999999), (None, 0.9999)):
        encoder = load_encoder(folder, device="cpu", dtype=dtype, **options)
        assert encoder.dimension == expected.shape[1]
        for batch_tokens in (150, 4000):
            encoder.batch_tokens = batch_tokens
            assert lowest_cosine(encoder.encode(shuffled), expected[order]) >= least


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family(tmp_path: Path, family: str) -> None:
    pooling = {"pooling_mode_lasttoken": True} if family == "qwen3" else MEAN
    folder = save_model(tmp_path, family, pooling=pooling)
    require_equal(folder, expected_of(folder))


def test_the_real_minilm() -> None:
    folder = find_model_folder(MINILM)
    require_equal(folder, expected_of(folder))


def test_a_model_that_bfloat16_moves_is_computed_in_float32(tmp_path: Path) -> None:
    """MiniLM is not moved that far, where the processor has bfloat16 at all."""
    folder = save_model(tmp_path, "llama", pooling=MEAN, spread=0.6)
    exact = load_encoder(folder, device="cpu", dtype="float32").encode(TEXTS)
    rounded = load_encoder(folder, device="cpu", dtype="bfloat16").encode(TEXTS)
    assert lowest_cosine(exact, rounded) < 0.9999, "it matters"
    chosen = load_encoder(folder, device="cpu")
    assert chosen.dtype == torch.float32
    np.testing.assert_array_equal(chosen.encode(TEXTS), exact)
    kept = load_encoder(MINILM, device="cpu").dtype
    assert kept == fast_dtype(torch.device("cpu"))


POOLINGS: dict[str, dict[str, Any]] = {
    "cls": {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False},
    "max": {"pooling_mode_max_tokens": True},
    "mean": MEAN,
    "mean_sqrt_len": {"pooling_mode_mean_sqrt_len_tokens": True},
    "weighted_mean": {"pooling_mode_weightedmean_tokens": True},
    "last": {"pooling_mode_lasttoken": True},
    "new name": {"pooling_mode": "lasttoken"},
    "new name of several": {"pooling_mode": ["cls", "mean_sqrt_len_tokens"]},
    "several": {"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True, **MEAN},
    "none said": {"pooling_mode_cls_token": False},
}


@pytest.mark.parametrize("pooling", POOLINGS)
def test_each_pooling(tmp_path: Path, pooling: str) -> None:
    folder = save_model(tmp_path, "bert", pooling=POOLINGS[pooling])
    require_equal(folder, expected_of(folder))


@pytest.mark.parametrize(
    "sentence",
    [
        {"max_seq_length": 12},
        {"max_seq_length": 20, "do_lower_case": True},
        {"processor_kwargs": {"truncation_side": "left"}, "max_seq_length": 10},
        {"tokenizer_args": {"truncation_side": "left"}, "max_seq_length": 10},
    ],
    ids=str,
)
def test_each_setting_of_the_transformer(tmp_path: Path, sentence: dict[str, Any]) -> None:
    plain = save_model(tmp_path / "plain", "bert", pooling=MEAN)
    folder = save_model(tmp_path / "set", "bert", pooling=MEAN, sentence=sentence)
    expected = expected_of(folder)
    assert lowest_cosine(expected, expected_of(plain)) < 0.999, "it matters"
    require_equal(folder, expected)
    assert describe_encoder(folder).encoder_id != describe_encoder(plain).encoder_id


def _save_layers(folder: Path, kinds: Sequence[str]) -> list[tuple[str, str]]:
    """Layers behind the pooling, written by sentence-transformers; (class, folder) of each."""
    made: dict[str, Any] = {
        "Dense": lambda: Dense(32, 24),
        "DenseReLU": lambda: Dense(32, 24, activation_function=torch.nn.ReLU()),
        "DenseResidual": lambda: Dense(32, 24, bias=False, use_residual=True),
        "DenseIdentity": lambda: Dense(32, 32, activation_function=None, use_residual=True),
        "LayerNorm": lambda: LayerNorm(32),
        "Normalize": Normalize,
    }
    torch.manual_seed(1)
    written = []
    for at, kind in enumerate(kinds, start=2):
        name = f"{at}_{kind}"
        (folder / name).mkdir(parents=True)
        layer = made[kind]()
        for parameter in layer.parameters():
            parameter.data.normal_()
        layer.save(str(folder / name))
        written.append((type(layer).__name__, name))
    return written


@pytest.mark.parametrize(
    "kinds",
    [
        ["Normalize"],
        ["Dense", "Normalize"],
        ["Normalize", "Dense"],
        ["DenseReLU"],
        ["DenseResidual"],
        ["DenseIdentity", "LayerNorm", "Dense"],
    ],
    ids=str,
)
def test_each_layer_behind_the_pooling(tmp_path: Path, kinds: list[str]) -> None:
    layers = _save_layers(tmp_path, kinds)
    folder = save_model(tmp_path, "bert", pooling=MEAN, layers=layers)
    require_equal(folder, expected_of(folder))


def test_the_weights_of_a_layer_are_part_of_the_identity(tmp_path: Path) -> None:
    layers = _save_layers(tmp_path, ["Dense"])
    folder = save_model(tmp_path, "bert", pooling=MEAN, layers=layers)
    before = describe_encoder(folder).encoder_id
    weights = load_file(folder / "2_Dense" / "model.safetensors")
    save_file({name: w + 1 for name, w in weights.items()}, folder / "2_Dense/model.safetensors")
    assert describe_encoder(folder).encoder_id != before


@pytest.mark.parametrize("family", ["bert", "bart"])
def test_the_old_layout_and_pickled_weights(tmp_path: Path, family: str) -> None:
    layers = _save_layers(tmp_path, ["Dense"])
    sentence = {"max_seq_length": 30, "do_lower_case": False}
    folder = save_model(
        tmp_path, family, pooling=MEAN, layers=layers, transformer="0_Transformer",
        sentence=sentence,
    )  # fmt: skip
    for weights in (tmp_path / "2_Dense", tmp_path / "0_Transformer"):
        torch.save(load_file(weights / "model.safetensors"), weights / "pytorch_model.bin")
        (weights / "model.safetensors").unlink()
    require_equal(folder, expected_of(folder))


def test_a_folder_that_sentence_transformers_itself_wrote(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "one", "qwen3", pooling=POOLINGS["last"])
    model = SentenceTransformer(str(folder), device="cpu", prompts={"query": "find: "})
    model.append(Normalize())
    model.max_seq_length = 25
    model.save(str(tmp_path / "two"), create_model_card=False)
    require_equal(tmp_path / "two", expected_of(tmp_path / "two"))
    assert describe_encoder(tmp_path / "two").prompts.query == "find: "


# Prompts

PROMPTS = {"query": "query: ", "document": "", "passage": "passage: ", "odd": "odd: "}


def _same(folder: Path, role: Role, expected: NDArray[np.float32], **options: Any) -> None:
    encoder = load_encoder(folder, device="cpu", dtype="float32", **options)
    assert lowest_cosine(encoder.encode(TEXTS, role), expected) >= 0.999999


@pytest.mark.parametrize("include_prompt", [True, False])
@pytest.mark.parametrize("pooling", ["mean", "cls", "weighted_mean", "last", "max"])
def test_each_role_has_its_prompt(tmp_path: Path, pooling: str, include_prompt: bool) -> None:
    rule = POOLINGS[pooling] | {"include_prompt": include_prompt}
    folder = save_model(tmp_path, "bert", pooling=rule, prompts={"prompts": PROMPTS})
    _same(folder, "item", expected_of(folder, prompt_name="passage"))
    _same(folder, "query", expected_of(folder, prompt_name="query"))


def test_a_behaviour_asks_as_a_query_does_unless_the_user_says_otherwise(tmp_path: Path) -> None:
    folder = save_model(tmp_path, "bert", pooling=MEAN, prompts={"prompts": PROMPTS})
    _same(folder, "behaviour", expected_of(folder, prompt_name="query"))
    _same(folder, "item", expected_of(folder, prompt="my own: "), prompts={"item": "my own: "})
    _same(folder, "query", expected_of(folder, prompt=""), prompts={"query": ""})


def test_the_default_prompt_stands_before_every_text(tmp_path: Path) -> None:
    prompts = {"prompts": {"odd": "odd: "}, "default_prompt_name": "odd"}
    folder = save_model(tmp_path, "gpt2", pooling=MEAN, prompts=prompts)
    for role in get_args(Role):
        _same(folder, role, expected_of(folder))


def test_an_unknown_default_prompt_is_refused(tmp_path: Path) -> None:
    prompts = {"prompts": PROMPTS, "default_prompt_name": "none"}
    folder = save_model(tmp_path, "bert", pooling=MEAN, prompts=prompts)
    with pytest.raises(SchemaError, match="default_prompt_name 'none'"):
        describe_encoder(folder)


# Matryoshka


def test_a_cut_vector_is_normalised_again(tmp_path: Path) -> None:
    folder = save_model(tmp_path, "bert", pooling=MEAN)
    require_equal(folder, expected_of(folder, truncate_dim=8), dimension=8)
    ids = {describe_encoder(folder, dimension=n).encoder_id for n in (8, 16, None)}
    assert len(ids) == 3
    with pytest.raises(SchemaError, match="got 33, expected at most 32"):
        describe_encoder(folder, dimension=33)


def test_the_cut_that_a_model_was_saved_with(tmp_path: Path) -> None:
    folder = save_model(tmp_path, "bert", pooling=MEAN, prompts={"truncate_dim": 12})
    require_equal(folder, expected_of(folder))
