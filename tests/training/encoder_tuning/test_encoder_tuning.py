"""Encoders that learn: tiny ones of random weights, and the folder that comes of it."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from feast_fusion.encoding.encoder import load_encoder
from feast_fusion.encoding.identity import describe_encoder
from feast_fusion.errors import MissingExtraError, SchemaError
from intake.workspace import Workspace
from tests.feast_fusion.encoding.tiny_models import save_model
from training.checkpoint import Checkpoints
from training.encoder_tuning.adapted_network import AdaptedNetwork, require_modules
from training.encoder_tuning.choices import read_choices
from training.encoder_tuning.settings import TuningSettings
from training.encoder_tuning.tuning import Tuning, fingerprint
from transformations.declared_encoders import identify

TEXTS = ["Film number 7 (1957). Genres: Drama.", "love and war", "星际穿越", "a"]
QUICK = TuningSettings(
    steps=6,
    slate=24,
    behaviours=4,
    learning_rate=5e-3,
    rank=4,
    layers=9,
    temperature=0.1,
    forget=0.0,
)


def plan(workspace: Workspace, folder: Path, settings: TuningSettings, seed: int = 0) -> Tuning:
    identity = identify(workspace.dataset)
    choices = read_choices(workspace)
    kept = Checkpoints(folder, fingerprint(workspace, identity, choices, settings, seed))
    model = Path(workspace.dataset.encoder.model)
    return Tuning(model, identity, choices, workspace, settings, seed, kept)


def write(tuning: Tuning, folder: Path, **options: Any) -> dict[str, list[float]]:
    folder.mkdir()
    return tuning.write(folder, **options)


def vectors(folder: Path, **options: Any) -> np.ndarray:
    return load_encoder(folder, dtype="float32", **options).encode(TEXTS)


def test_the_loss_falls_and_the_identity_changes(tiny: Workspace, tmp_path: Path) -> None:
    base = Path(tiny.dataset.encoder.model)
    before = {path.name: path.read_bytes() for path in base.iterdir() if path.is_file()}
    tuning = plan(tiny, tmp_path / "kept", replace(QUICK, steps=60))
    assert len(write(tuning, tmp_path / "out")["choices"]) == 60
    assert loss_of(tuning, tmp_path / "out") < loss_of(tuning, base) - 0.05
    assert describe_encoder(tmp_path / "out").encoder_id != describe_encoder(base).encoder_id
    assert before == {path.name: path.read_bytes() for path in base.iterdir() if path.is_file()}
    said = json.loads((tmp_path / "out" / "tuning.json").read_text())
    assert said["base"] == tuning.identity.encoder_id and said["n_choices"] == len(tuning.choices)


def test_same_seed_same_encoder_whatever_was_interrupted(tiny: Workspace, tmp_path: Path) -> None:
    settings = replace(QUICK, steps=24, masked_steps=22, slate=8, n_together=50)
    write(plan(tiny, tmp_path / "a", settings), tmp_path / "whole")
    tuning = plan(tiny, tmp_path / "b", settings)
    assert tuning.steps_taken() == 0
    for stop in (("hidden words", 21), ("choices", 23)):
        with pytest.raises(KeyboardInterrupt):
            write(tuning, tmp_path / f"{stop[1]}", progress=stops_at(*stop))
    assert tuning.steps_taken() == 22 + 20
    seen: list[int] = []
    write(tuning, tmp_path / "resumed", progress=lambda what, done, total: seen.append(done))
    assert seen == list(range(21, 25))
    assert np.array_equal(vectors(tmp_path / "whole"), vectors(tmp_path / "resumed"))
    other = plan(tiny, tmp_path / "b", settings, seed=1)
    assert other.steps_taken() is None  # what lies there is of another seed


def stops_at(kind: str, step: int) -> Callable[[str, int, int], None]:
    def progress(what: str, done: int, total: int) -> None:
        if what.startswith(kind) and done == step:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("rank", [4, None])
@pytest.mark.parametrize("family", ["bert", "mpnet", "qwen3", "t5_encoder"])
def test_the_folder_encodes_as_the_network_did(
    family: str, rank: int | None, tmp_path: Path
) -> None:
    base = save_model(
        tmp_path / "base",
        family,
        pooling={"pooling_mode_mean_tokens": True},
        layers=[("Normalize", "2_Normalize")],
        transformer="0_Transformer",
        sentence={"max_seq_length": 30},
        prompts={"prompts": {"query": "find: ", "document": "film: "}},
    )
    network = AdaptedNetwork(base, describe_encoder(base), rank=rank)
    start = network.encode(TEXTS)
    assert np.allclose(start.detach().numpy(), vectors(base), atol=0.02)
    with torch.no_grad():
        for number, weight in enumerate(network.learned.values()):
            weight.add_(0.05 * torch.randn(weight.shape, generator=torch.manual_seed(number)))
        expected = exactly(network)
    (tmp_path / "out").mkdir()
    network.save(tmp_path / "out")
    found = vectors(tmp_path / "out")
    assert np.allclose(found, expected, atol=1e-5)
    assert not np.allclose(found, vectors(base), atol=1e-2)
    theirs = SentenceTransformer(str(tmp_path / "out"), device="cpu", local_files_only=True)
    by_them = theirs.encode(TEXTS, batch_size=1, normalize_embeddings=True, prompt="film: ")
    assert (found * by_them).sum(axis=1).min() > 0.999999
    assert not list((tmp_path / "out").rglob("adapter*"))


def exactly(network: AdaptedNetwork) -> np.ndarray:
    """Vectors of a network in float32, its adapters beside its weights."""
    network.dtype = torch.float32
    return network.encode(TEXTS).numpy()


def test_leading_numbers_serve_better_when_they_are_asked_to(
    tiny: Workspace, tmp_path: Path
) -> None:
    """By the loss of the first 4 of 32 numbers, on the questions of the last steps."""
    settings = replace(QUICK, steps=40, rank=None)
    nested = replace(settings, widths=(4,))
    narrow = {}
    for name, each in (("plain", settings), ("nested", nested)):
        write(plan(tiny, tmp_path / f"{name}.kept", each), tmp_path / name)
        narrow[name] = loss_of(plan(tiny, tmp_path / "none", settings), tmp_path / name, 4)
    assert narrow["nested"] < narrow["plain"] - 0.02


def loss_of(tuning: Tuning, folder: Path, width: int | None = None) -> float:
    """Nats of twenty slates that no step had, by vectors of that width."""
    identity = describe_encoder(folder, max_tokens=tuning.identity.max_tokens, dimension=width)
    measured = replace(tuning, folder=folder, identity=identity)
    with torch.no_grad():
        learner = measured.open_learner()
        return float(np.mean([float(learner.choice_loss(number)) for number in range(90, 110)]))


def test_hidden_words_are_learned(tiny: Workspace, tmp_path: Path) -> None:
    settings = replace(QUICK, steps=0, masked_steps=40)
    losses = write(plan(tiny, tmp_path / "kept", settings), tmp_path / "out")["masked"]
    assert np.mean(losses[-8:]) < np.mean(losses[:8]) - 0.5
    assert not np.allclose(vectors(tmp_path / "out"), vectors(Path(tiny.dataset.encoder.model)))


def test_a_decoder_has_no_hidden_words(tiny: Workspace, tmp_path: Path) -> None:
    base = save_model(tmp_path / "base", "qwen3", pooling={"pooling_mode_lasttoken": True})
    encoder = tiny.dataset.encoder.model_copy(update={"model": str(base)})
    workspace = replace(tiny, dataset=tiny.dataset.model_copy(update={"encoder": encoder}))
    tuning = plan(workspace, tmp_path / "kept", replace(QUICK, masked_steps=2))
    with pytest.raises(SchemaError, match=r"no hidden words.*masked language modelling"):
        write(tuning, tmp_path / "out")


def test_unknown_layers_are_refused(tiny: Workspace, tmp_path: Path) -> None:
    tuning = plan(tiny, tmp_path / "kept", replace(QUICK, targets=("query", "quarry")))
    with pytest.raises(SchemaError, match=r"quarry.*dense, key, query, value"):
        write(tuning, tmp_path / "out")


def test_words_are_left_out_by_the_number_of_the_step(tiny: Workspace, tmp_path: Path) -> None:
    def losses(forget: float) -> list[float]:
        learner = plan(tiny, tmp_path / "kept", replace(QUICK, forget=forget)).open_learner()
        with torch.no_grad():
            return [float(learner.choice_loss(number)) for number in (0, 0, 1)]

    some, none = losses(0.5), losses(0.0)
    assert some[0] == some[1] != some[2]
    assert none[0] != some[0] and none[2] != some[2]


def test_only_the_last_layers_change_where_they_are_asked_to(tmp_path: Path) -> None:
    base = save_model(tmp_path / "base", "bert", pooling={"pooling_mode_mean_tokens": True})
    for rank in (None, 2):
        network = AdaptedNetwork(base, describe_encoder(base), rank=rank, layers=1)
        assert network.learned
        assert all(".layer.1." in name for name in network.learned)


def test_without_peft_all_weights_can_still_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = save_model(tmp_path / "base", "bert", pooling={"pooling_mode_mean_tokens": True})
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"feast-fusion\[tune\]"):
        AdaptedNetwork(base, describe_encoder(base), rank=2)
    assert AdaptedNetwork(base, describe_encoder(base), rank=None).learned


def test_only_transformers_that_are_computed_here_are_tuned() -> None:
    remote = describe_encoder("some/model", dimension=8, server={"url": "http://localhost:1/v1"})
    with pytest.raises(SchemaError, match="a model behind a server"):
        require_modules(remote)
    static = replace(remote, model=static_module())
    with pytest.raises(SchemaError, match="a static table"):
        require_modules(static)


def static_module() -> Any:
    from feast_fusion.encoding.modules import StaticModule

    return StaticModule(Path("table"))
