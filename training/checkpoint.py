"""Where a fit stands after its last epoch, so that one that was killed goes on from there."""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, uint8
from torch.optim import Optimizer

from feast_fusion.files import replaced_file

_DESCRIPTION, _FINGERPRINT, _DIGEST = "description", "fingerprint", "sha256"


@dataclass(frozen=True)
class Checkpoint:
    """One file, replaced as a whole.

    Attributes
    ----------
    fingerprint : of all that decides the fit; what another fit left is not gone on with
    """

    path: Path
    fingerprint: str

    def save(self, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
        """Replace what was saved before. `description` : anything that JSON can hold."""
        held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        text = json.dumps(description)
        known = {_DESCRIPTION: text, _FINGERPRINT: self.fingerprint, _DIGEST: _digest(held, text)}
        with replaced_file(self.path) as building:
            save_file(held, building, metadata=known)

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and description last saved; None where this fit saved none that can be read."""
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                known = file.metadata() or {}
                if known.get(_FINGERPRINT) != self.fingerprint:
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError:
            return None
        text = known.get(_DESCRIPTION, "")
        return (tensors, json.loads(text)) if known.get(_DIGEST) == _digest(tensors, text) else None


@dataclass(frozen=True)
class Checkpoints:
    """A folder with a checkpoint per part of a training.

    Attributes
    ----------
    fingerprint : as of `Checkpoint`
    """

    folder: Path
    fingerprint: str

    def of(self, part: str) -> Checkpoint:
        """The checkpoint of the part of that name."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return Checkpoint(self.folder / f"{part}.safetensors", self.fingerprint)

    def below(self, name: str) -> "Checkpoints":
        """Those of a part that is a fit of several parts itself."""
        return Checkpoints(self.folder / name, self.fingerprint)

    def remove(self) -> None:
        """The training is over."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _digest(tensors: Mapping[str, Tensor], description: str) -> str:
    """SHA-256 of what is kept; the format itself has no checksum."""
    digest = hashlib.sha256(description.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(uint8).numpy().tobytes())
    return digest.hexdigest()


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """What an optimizer remembers of each weight, by `number.name`."""
    states: dict[int, dict[str, Tensor]] = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": value for number, of in states.items() for name, value in of.items()
    }


def restore_optimizer(
    optimizer: Optimizer,
    tensors: Mapping[str, Tensor],
    groups: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """Let it remember the tensors that `optimizer_tensors` gave.

    groups : its settings, where they change while it works; None for those that it has
    """
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split(".")
        states.setdefault(int(number), {})[name] = value
    groups = groups or optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": states, "param_groups": groups})


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose name begins with `prefix.`, without it."""
    start = f"{prefix}."
    return {key.removeprefix(start): t for key, t in tensors.items() if key.startswith(start)}
