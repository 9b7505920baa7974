"""`bench encoder`: texts per second against sentence-transformers, and against the matrix rate.

On a CPU it is the encoder of the demo on the demo's texts, of all items and of the newest snapshot
of each user: it needs the demo's workspace (`make demo`), or another that FUSION_DATASET and
FUSION_HOME name. On a GPU the models have real shapes and random weights, which time does not
depend on, and a text has about as many words as fill `max_tokens`, or a tenth to all of them
(`mixed`). The floor is the time that the model's multiplications of the real tokens take at the
rate of one large matrix product, measured in the same run; nothing can be faster without doing
less.
"""

import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer, BertConfig, PreTrainedConfig, Qwen3Config

from benchmarks.report import Case, compared, report
from feast_fusion.encoding.encoder import load_encoder
from feast_fusion.encoding.model_folder import find_model_folder

TOKENIZER = "sentence-transformers/all-MiniLM-L6-v2"
MAX_TOKENS = 256
ROUNDS = 3
# sentence-transformers at its best batch size, and the rate of a matrix product.
TARGETS = (
    "CPU: 1.4 x sentence-transformers, 0.80 of the matrix rate",
    "GPU: 1.3 x sentence-transformers bfloat16, 0.45 of the matrix rate, 256 tokens",
)
PEER_BATCHES = {"cpu": (16, 32, 64), "cuda": (128, 512)}

Encode = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True)
class Shape:
    """A model to measure: how many texts, and the configuration of the model."""

    name: str
    n_texts: int
    config: PreTrainedConfig


def shapes(quick: bool) -> list[Shape]:
    """The models of random weights: what a GPU is bought for, or one that runs at once."""
    if quick:
        tiny = BertConfig(
            hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
        )
        return [Shape("tiny", 8, tiny)]
    minilm = BertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
    )
    large = BertConfig(
        hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096
    )
    decoder = Qwen3Config(
        vocab_size=30_522,
        hidden_size=1024,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        intermediate_size=3072,
        max_position_embeddings=4096,
    )
    return [
        Shape("minilm", 8192, minilm),
        Shape("bert_large", 2048, large),
        Shape("decoder_0.6b", 1024, decoder),
    ]


def run(json_path: Path | None = None, quick: bool = False) -> dict[str, Any]:
    """Measure every shape on the device at hand; ours and the peers in alternating rounds."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rate = matrix_rate(device, 1024 if quick or device == "cpu" else 8192)
    print(f"matrix product, bf16: {rate / 1e12:.2f} TFLOP/s")
    cases: list[Case] = []
    if device == "cpu" and not quick:
        from benchmarks.demo import measured_workspace, texts_of  # the application, not on a GPU's

        workspace = measured_workspace()
        model = workspace.dataset.encoder.model
        folder = find_model_folder(model)
        texts = texts_of(workspace, load_encoder(folder, max_tokens=MAX_TOKENS))
        cases += measure(f"{model}, the demo's texts", folder, texts, device, rate)
        return report("encoder", cases, TARGETS, json_path, processor(device))
    for shape in shapes(quick):
        with tempfile.TemporaryDirectory() as folder:
            save_model(shape, Path(folder))
            for name, texts in corpora(shape.n_texts).items():
                cases += measure(f"{shape.name}, {name}", Path(folder), texts, device, rate)
    return report("encoder", cases, TARGETS, json_path, processor(device))


def measure(case: str, folder: Path, texts: list[str], device: str, rate: float) -> list[Case]:
    """Texts a second of ours and of each peer, and how near ours is to the peers' vectors."""
    encoder = load_encoder(folder, max_tokens=MAX_TOKENS, pooling="mean", device=device)
    if device == "cuda":
        encoder.compile()  # as it does by itself where there are many texts
    contenders: dict[str, Encode] = {"ours": encoder.encode, **peers(folder, device)}
    few = texts[: max(8, len(texts) // 8)]
    reference = load_encoder(
        folder, max_tokens=MAX_TOKENS, pooling="mean", device=device, dtype=torch.float32
    )
    exact = reference.encode(few)
    cosine = {
        name: float((encode(few) * exact).sum(1).min()) for name, encode in contenders.items()
    }
    del reference
    best = dict.fromkeys(contenders, float("inf"))
    for _ in range(ROUNDS):
        for name, encode in contenders.items():
            best[name] = min(best[name], _seconds(lambda run=encode: run(texts)))
    flops = model_flops(folder, encoder.count_tokens(texts))
    speed = {name: len(texts) / seconds for name, seconds in best.items()}
    ours = speed.pop("ours")
    rates = {"matrix rate": len(texts) / (flops / rate)}
    return [
        compared(case, "throughput", "texts/s", ours, speed, rates),
        compared(case, "lowest cosine to float32", "", cosine.pop("ours"), cosine, {}),
    ]


def peers(folder: Path, device: str) -> dict[str, Encode]:
    """sentence-transformers in float32 and bfloat16, at each batch size; none if not installed."""
    try:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    except ImportError:
        return {}
    found: dict[str, Encode] = {}
    for dtype in ("float32", "bfloat16"):
        options = {"dtype": getattr(torch, dtype)}
        transformer = Transformer(str(folder), max_seq_length=MAX_TOKENS, model_kwargs=options)
        pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode="mean")
        model = SentenceTransformer(modules=[transformer, pooling], device=device)
        for size in PEER_BATCHES[device]:
            found[f"sentence-transformers {dtype}, {size}"] = _peer(model, size)
    return found


def _peer(model: Any, size: int) -> Encode:
    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = model.encode(
            list(texts), batch_size=size, normalize_embeddings=True, show_progress_bar=False
        )
        return vectors

    return encode


def save_model(shape: Shape, folder: Path) -> None:
    """A model folder of that shape: random weights, and the tokenizer of MiniLM."""
    AutoTokenizer.from_pretrained(find_model_folder(TOKENIZER)).save_pretrained(folder)
    torch.manual_seed(0)
    AutoModel.from_config(shape.config).save_pretrained(folder)


def corpora(n: int) -> dict[str, list[str]]:
    """n texts that fill the token limit, and n of a tenth of it to all of it."""
    rng = np.random.default_rng(0)
    words = np.array(["the", "film", "of", "love", "war", "night", "city", "robot", "sea", "king"])
    lengths = {
        f"{MAX_TOKENS} tokens": np.full(n, MAX_TOKENS - 2),
        "mixed": rng.integers(MAX_TOKENS // 10, MAX_TOKENS - 2, n),
    }
    return {
        name: [" ".join(words[rng.integers(0, len(words), k)]) for k in counts]
        for name, counts in lengths.items()
    }


def model_flops(folder: Path, n_tokens: Sequence[int]) -> float:
    """Multiplications and additions of the linear layers and of attention, real tokens only."""
    model = AutoModel.from_pretrained(folder)
    layers = [m for n, m in model.named_modules() if "pooler" not in n]
    linear = sum(m.weight.numel() for m in layers if isinstance(m, torch.nn.Linear))
    config = model.config
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    lengths = np.minimum(np.asarray(n_tokens) + 2, MAX_TOKENS).astype(np.float64)
    attention = 4 * config.num_hidden_layers * config.num_attention_heads * width
    return float(2 * linear * lengths.sum() + attention * (lengths**2).sum())


def matrix_rate(device: str, size: int) -> float:
    """Operations a second of one bfloat16 matrix product, the best of ten."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = [_seconds(lambda: a @ b) for _ in range(10)]
    return float(2 * size**3 / min(seconds[3:]))


def processor(device: str) -> str:
    """What the numbers were measured on."""
    what = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    return f"{what}, torch {torch.__version__}"


def _seconds(work: Callable[[], object]) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began
