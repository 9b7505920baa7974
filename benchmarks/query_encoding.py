"""`bench query-encoding`: one query beside a bare forward pass, and many callers beside a lock.

One query goes the service's whole way (cleaning, what is remembered, the queue, the encoder); the
floor is the tokenizer and the model of transformers on the same text and numbers, without pooling.
Many callers ask in a closed loop, each for one text that nobody asked before; the peer is the same
encoder under a lock, one text at a time. All take turns in one process, on one thread of torch, as
in the service.
"""

import platform
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from benchmarks.report import Case, compared, report
from cli.workspace_options import example_dataset
from feast_fusion.encoding.model_folder import find_model_folder
from intake.workspace import open_workspace
from transformations.declared_encoders import identify
from transformations.embedder import Embedder

CALLERS = (1, 8, 32)
N_WORDS = {"short": 4, "long": 40}
ROUNDS = 3
TARGETS = ("one query: at most 1.2 times a bare forward pass", "32 callers: more than under a lock")

Ask = Callable[[str], object]


def run(json_path: Path | None = None, quick: bool = False) -> dict[str, Any]:
    """Measure one caller and several, with the encoder of the example's dataset.toml."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as home:
        workspace = open_workspace(example_dataset(home), home)
        embedder = Embedder(workspace, identify(workspace.dataset).encoder_id)
        contenders = {"ours": _ours(embedder), "lock": _locked(embedder), "bare": _bare(embedder)}
        n_queries = 3 if quick else 300
        cases = [measure_one(name, n, contenders, n_queries) for name, n in N_WORDS.items()]
        for n_callers in CALLERS[:1] if quick else CALLERS:
            cases += measure_callers(n_callers, contenders, n_queries)
    machine = f"{platform.machine()}, 1 thread of torch {torch.__version__}"
    return report("query-encoding", cases, TARGETS, json_path, machine)


def measure_one(name: str, n_words: int, contenders: dict[str, Ask], n_queries: int) -> Case:
    """Median milliseconds of one query, ours and the bare pass in alternation."""
    texts = _texts(n_words)
    seconds: dict[str, list[float]] = {"ours": [], "bare": []}
    for text in (next(texts) for _ in range(n_queries)):
        for each, taken in seconds.items():
            taken.append(_seconds(contenders[each], text))
    ours, bare = (1000 * float(np.median(taken)) for taken in seconds.values())
    return compared(f"one query, {name}", "p50", "ms", ours, {}, {"bare forward pass": bare})


def measure_callers(n_callers: int, contenders: dict[str, Ask], n_queries: int) -> list[Case]:
    """Rate, p50 and p99 of callers at once, the best of the rounds, ours and under a lock."""
    found: dict[str, list[tuple[float, float, float]]] = {"ours": [], "lock": []}
    for _ in range(ROUNDS):
        for each, rounds in found.items():
            rounds.append(_at_once(n_callers, contenders[each], n_queries))
    ours, lock = (np.array(rounds) for rounds in found.values())
    case = "1 caller" if n_callers == 1 else f"{n_callers} callers"
    rate = compared(
        case, "rate", "texts/s", ours[:, 0].max(), {"under a lock": lock[:, 0].max()}, {}
    )
    waits = [
        compared(case, name, "ms", ours[:, at].min(), {"under a lock": lock[:, at].min()}, {})
        for at, name in ((1, "p50"), (2, "p99"))
    ]
    return [rate, *waits]


def _at_once(n_callers: int, ask: Ask, n_queries: int) -> tuple[float, float, float]:
    """Texts a second, median and 99th percentile in milliseconds."""
    seconds: list[float] = []
    texts = _texts(N_WORDS["short"])
    asked = [[next(texts) for _ in range(max(1, n_queries // n_callers))] for _ in range(n_callers)]

    def work(mine: list[str]) -> None:
        seconds.extend(_seconds(ask, text) for text in mine)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in asked]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = len(seconds) / (time.perf_counter() - began)
    return rate, *(1000 * np.percentile(seconds, [50, 99]))


def _ours(embedder: Embedder) -> Ask:
    embedder.queries(["warm up"])
    return lambda text: embedder.queries([text])


def _locked(embedder: Embedder) -> Ask:
    encoder, lock = embedder.cached.encoder, threading.Lock()

    def ask(text: str) -> None:
        with lock:
            encoder.encode([text], "query")

    return ask


def _bare(embedder: Embedder) -> Ask:
    folder = find_model_folder(embedder.workspace.dataset.encoder.model)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=embedder.cached.encoder.dtype).eval()
    limit = embedder.identity.max_tokens

    @torch.inference_mode()
    def ask(text: str) -> None:
        model(**tokenizer(text, return_tensors="pt", truncation=True, max_length=limit))

    return ask


def _texts(n_words: int) -> Iterator[str]:
    """Texts of so many words that no call has had before."""
    rng = np.random.default_rng(n_words)
    words = np.array(["film", "love", "war", "night", "city", "robot", "sea", "king", "old", "two"])
    for _ in range(1_000_000):
        number = next(_NUMBERS)
        yield " ".join([str(number), *words[rng.integers(0, len(words), n_words - 1)]])


_NUMBERS = count(100_000)


def _seconds(ask: Ask, text: str) -> float:
    began = time.perf_counter()
    ask(text)
    return time.perf_counter() - began
