"""The tuning of an encoder from start to end."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from feast_fusion.encoding.encoder import device_names
from feast_fusion.encoding.identity import EncoderIdentity
from intake.workspace import Workspace
from training.checkpoint import Checkpoints
from training.encoder_tuning.adapted_network import AdaptedNetwork
from training.encoder_tuning.choice_texts import ChoiceTexts
from training.encoder_tuning.choices import Choices
from training.encoder_tuning.fitting import Fit
from training.encoder_tuning.learner import Learner
from training.encoder_tuning.masked_language import MaskedLanguage
from training.encoder_tuning.settings import TuningSettings
from training.threads import on_few_threads

Losses = dict[str, list[float]]
Progress = Callable[[str, int, int], None]

DESCRIPTION = "tuning.json"
_MASKED, _CHOICES = "masked", "choices"


@dataclass(frozen=True)
class Tuning:
    """What an encoder is tuned on, and how.

    Attributes
    ----------
    folder, identity : of the encoder as it is
    checkpoints : where the tuning stands
    """

    folder: Path
    identity: EncoderIdentity
    choices: Choices
    workspace: Workspace
    settings: TuningSettings
    seed: int
    checkpoints: Checkpoints

    def steps_taken(self) -> int | None:
        """Steps that a killed run of this tuning left; None where they are of another tuning."""
        parts = [self.checkpoints.of(part) for part in (_MASKED, _CHOICES)]
        kept = [part.load() for part in parts]
        if not any(kept) and any(part.path.is_file() for part in parts):
            return None
        return sum(len(found[1]["losses"]) for found in kept if found is not None)

    @on_few_threads()
    def write(self, folder: Path, progress: Progress = lambda what, done, total: None) -> Losses:
        """Take the steps that are left and write the encoder; the loss of each step by its kind.

        folder : empty; gets the model, and `tuning.json`, which says what was done

        Raises
        ------
        SchemaError
            The model cannot be tuned like this, see `AdaptedNetwork` and `MaskedLanguage`.
        """
        learner = self.open_learner()
        losses = self._learn(learner, progress)
        learner.network.save(folder)
        description = json.dumps(self._description() | {"losses": losses}, indent=2)
        (folder / DESCRIPTION).write_text(description, encoding="utf-8")
        return losses

    def open_learner(self) -> Learner:
        """The network as it is, and what it learns from. Raises as `AdaptedNetwork`."""
        settings = self.settings
        torch.manual_seed(self.seed)  # of the low-rank changes, and of a new head
        network = AdaptedNetwork(
            self.folder,
            self.identity,
            rank=settings.rank,
            targets=settings.targets,
            layers=settings.layers,
            device=next(iter(device_names(self.workspace.dataset.encoder.device)), None),
        )
        texts = ChoiceTexts(
            self.choices,
            self.workspace,
            network.tokenizer.count,
            network.tokenizer.n_special_tokens,
            self.identity.max_tokens,
        )
        return Learner(network, texts, settings, self.seed)

    def _learn(self, learner: Learner, progress: Progress) -> Losses:
        settings, losses = self.settings, Losses()
        if settings.masked_steps:
            language = MaskedLanguage(learner.network)
            fit = Fit(
                language.learned,
                lambda number: learner.masked_loss(language, number),
                settings.masked_steps,
                settings.learning_rate,
            )
            losses[_MASKED] = fit.run(
                self.checkpoints.of(_MASKED),
                lambda done, total, nats: progress(f"hidden words, {nats:.2f} nats", done, total),
            )
        if settings.steps:
            fit = Fit(
                learner.network.learned,
                learner.choice_loss,
                settings.steps,
                settings.learning_rate,
            )
            losses[_CHOICES] = fit.run(
                self.checkpoints.of(_CHOICES),
                lambda done, total, nats: progress(f"choices, {nats:.2f} nats", done, total),
            )
        return losses

    def _description(self) -> dict[str, Any]:
        last = np.datetime64(int(self.choices.time.max()), "us")
        return {
            "base": self.identity.encoder_id,
            "n_choices": len(self.choices),
            "until": f"{last}Z",
            "seed": self.seed,
            "settings": self.settings.to_dict(),
        }


def fingerprint(
    workspace: Workspace,
    identity: EncoderIdentity,
    choices: Choices,
    settings: TuningSettings,
    seed: int,
) -> str:
    """SHA-256 of all that decides a tuning."""
    decided = [identity.encoder_id, settings.to_dict(), seed, torch.__version__]
    digest = hashlib.sha256(json.dumps(decided, sort_keys=True).encode())
    digest.update(workspace.manifest.read_bytes() + choices.row.tobytes())
    return digest.hexdigest()
