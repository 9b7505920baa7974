"""All that the next epoch of a sequence encoder depends on, kept and given back."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from training.checkpoint import Checkpoint, below, optimizer_tensors, restore_optimizer
from training.next_item.sequence_model import SequenceModel


@dataclass(frozen=True)
class SequenceState:
    """The parts of a fit that its epochs change.

    Attributes
    ----------
    rng : of the windows and their order
    forgetting : of the items whose own embedding is left out; dropout has torch's own generator
    """

    model: SequenceModel
    optimizer: Optimizer
    schedule: LRScheduler
    rng: np.random.Generator
    forgetting: torch.Generator

    def save(self, checkpoint: Checkpoint, losses: list[float]) -> None:
        """Keep where the fit stands after epochs of these losses."""
        parts = {
            "model": self.model.state_dict(),
            "optimizer": optimizer_tensors(self.optimizer),
            "chance": {"forgetting": self.forgetting.get_state(), "rest": torch.get_rng_state()},
        }
        tensors = {f"{part}.{name}": t for part, of in parts.items() for name, t in of.items()}
        description = {
            "losses": losses,
            "groups": self.optimizer.state_dict()["param_groups"],
            "schedule": self.schedule.state_dict(),
            "rng": self.rng.bit_generator.state,
        }
        checkpoint.save(tensors, description)

    def restore(self, checkpoint: Checkpoint) -> list[float]:
        """Go on from what was kept; the losses of its epochs, none where nothing was kept."""
        kept = checkpoint.load()
        if kept is None:
            return []
        tensors, description = kept
        self.model.load_state_dict(below(tensors, "model"))
        remembered = below(tensors, "optimizer")
        restore_optimizer(self.optimizer, remembered, description["groups"])
        self.schedule.load_state_dict(description["schedule"])
        self.rng.bit_generator.state = description["rng"]
        self.forgetting.set_state(tensors["chance.forgetting"])
        torch.set_rng_state(tensors["chance.rest"])
        losses: list[float] = description["losses"]
        return losses
