"""Where a fit stands after its last epoch, so that one that was killed goes on from there."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from feast_fusion.files import replaced_file

_DESCRIPTION, _FINGERPRINT = "description", "fingerprint"


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
        known = {_DESCRIPTION: json.dumps(description), _FINGERPRINT: self.fingerprint}
        with replaced_file(self.path) as building:
            save_file(held, building, metadata=known)

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and description last saved; None where this fit saved none that can be read."""
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                known = file.metadata()
                if known.get(_FINGERPRINT) != self.fingerprint:
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError:
            return None
        return tensors, json.loads(known[_DESCRIPTION])

    def remove(self) -> None:
        """The fit is over."""
        self.path.unlink(missing_ok=True)
