"""A trained ranker on disk: everything that scoring needs, and what it was made of.

`artifact.json` holds configuration, vocabularies and provenance, `arrays.safetensors` every
array. The folder is replaced as a whole, so a reader sees the old model or the new one.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from feast_fusion.errors import EncoderMismatchError, FeatureNotFoundError, SchemaError
from feast_fusion.training_set import TrainingSet
from training.ranker.batching import RankerInputs
from training.ranker.columns import Profile
from training.ranker.feature_encoder import FeatureEncoder
from training.ranker.item_factors import ItemSignal
from training.ranker.model import InputShape, Ranker, RankerConfig
from training.ranker.text_projection import TextBasis

FORMAT = 1
_DESCRIPTION = "artifact.json"
_ARRAYS = "arrays.safetensors"
_SCORED_TOGETHER = 4096


@dataclass(frozen=True)
class Artifact:
    """A ranker with the encoder of its inputs.

    Attributes
    ----------
    encoder_id : of the text vectors it was trained on, None without any
    service : feature service it reads
    metrics : measured when it was trained
    """

    features: FeatureEncoder
    ranker: Ranker
    encoder_id: str | None
    service: str
    metrics: Mapping[str, float] = field(default_factory=dict)

    def score(self, rows: TrainingSet) -> NDArray[np.float32]:
        """(n,) probability that each row is a positive.

        Raises
        ------
        SchemaError
            A column that the ranker was trained on is missing.
        """
        return probabilities(self.ranker, self.features.transform(rows))

    def require_encoder(self, encoder_id: str) -> None:
        """Refuse vectors of another encoder.

        Raises
        ------
        EncoderMismatchError
            `encoder_id` is not that of the training vectors.
        """
        if self.encoder_id != encoder_id:
            raise EncoderMismatchError(
                f"artifact: got vectors of the encoder {encoder_id}, expected {self.encoder_id}, "
                "on which it was trained. Run feast-fusion run to train on the new vectors."
            )

    def save(self, folder: str | Path) -> Path:
        """Write to `folder`, replacing what is there; it appears complete or not at all."""
        folder = Path(folder).expanduser().absolute()
        building = folder.with_name(f".{folder.name}.{os.getpid()}")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        save_file(self._arrays(), building / _ARRAYS)
        described = self._description() | {"sha256": _digest(building / _ARRAYS)}
        description = json.dumps(described, indent=1)
        (building / _DESCRIPTION).write_text(description, encoding="utf-8")
        replaced = folder.with_name(f".{folder.name}.replaced.{os.getpid()}")
        if folder.exists():
            folder.rename(replaced)
        building.rename(folder)
        shutil.rmtree(replaced, ignore_errors=True)
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> "Artifact":
        """The artifact in `folder`.

        Raises
        ------
        FeatureNotFoundError
            The folder or a file of it is missing.
        SchemaError
            A file is damaged or of another version.
        """
        folder = Path(folder)
        description, arrays = _read(folder)
        try:
            ranker = Ranker(
                RankerConfig(**description["ranker"]), InputShape(**description["shape"])
            )
            weights = {
                name.removeprefix("ranker."): array
                for name, array in arrays.items()
                if name.startswith("ranker.")
            }
            ranker.load_state_dict(weights)
            return cls(
                _features(description["features"], arrays),
                ranker.eval(),
                description["encoder_id"],
                description["service"],
                description["metrics"],
            )
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise SchemaError(
                f"{folder}: got an artifact that does not fit together ({error}), expected one "
                "written by this version. Run feast-fusion train again."
            ) from error

    def _arrays(self) -> dict[str, torch.Tensor]:
        features = self.features
        signal = features.signal.last_fold
        arrays = {
            "signal.bias": signal.bias,
            "signal.factors": signal.factors,
            "item_texts": features.item_texts,
        }
        if features.basis is not None:
            arrays |= {
                "basis.mean": features.basis.mean,
                "basis.components": features.basis.components,
            }
        tensors = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}
        weights = self.ranker.state_dict()
        return tensors | {f"ranker.{name}": w.contiguous() for name, w in weights.items()}

    def _description(self) -> dict[str, Any]:
        features = self.features
        return {
            "format": FORMAT,
            "versions": {name: version(name) for name in ("feast-fusion", "torch", "numpy")},
            "service": self.service,
            "encoder_id": self.encoder_id,
            "metrics": dict(self.metrics),
            "ranker": self.ranker.config.model_dump(),
            "shape": self.ranker.shape.model_dump(),
            "features": {
                "profile": asdict(features.profile),
                "history": features.history,
                "prior": features.prior,
                "value_spread": features.value_spread,
                "columns": features.columns,
                "scales": dict(features.scales),
                "vocabularies": dict(features.vocabularies),
                "item_ids": features.item_ids,
                "user_texts": features.user_texts,
                "basis_spread": features.basis.spread if features.basis else None,
            },
        }


def probabilities(ranker: Ranker, inputs: RankerInputs) -> NDArray[np.float32]:
    """(n,) sigmoid of the ranker's logits, on the CPU."""
    device = next(ranker.parameters()).device
    with torch.inference_mode():
        batches = torch.split(torch.arange(len(inputs), device=device), _SCORED_TOGETHER)
        parts = [torch.sigmoid(ranker(inputs.batch(rows))) for rows in batches]
    scores: NDArray[np.float32] = (
        torch.cat(parts).cpu().numpy() if parts else np.zeros(0, np.float32)
    )
    return scores


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    for name in (_DESCRIPTION, _ARRAYS):
        if not (folder / name).is_file():
            raise FeatureNotFoundError(
                f"{folder / name}: got no such file, expected a trained artifact. "
                "Run feast-fusion train first."
            )
    try:
        description = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
        arrays = load_file(folder / _ARRAYS)
    except (ValueError, SafetensorError) as error:
        raise SchemaError(
            f"{folder}: got a damaged artifact ({error}), expected one written by feast-fusion "
            "train. Run it again."
        ) from error
    if description.get("format") != FORMAT:
        raise SchemaError(
            f"{folder}: got an artifact of format {description.get('format')}, expected {FORMAT}. "
            "Run feast-fusion train again."
        )
    if description.get("sha256") != _digest(folder / _ARRAYS):
        raise SchemaError(
            f"{folder / _ARRAYS}: got bytes of another digest than {_DESCRIPTION} names, expected "
            "the file written with it. Run feast-fusion train again."
        )
    return description, arrays


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _features(known: dict[str, Any], arrays: dict[str, torch.Tensor]) -> FeatureEncoder:
    basis = None
    if known["basis_spread"] is not None:
        basis = TextBasis(
            arrays["basis.mean"].numpy(),
            arrays["basis.components"].numpy(),
            known["basis_spread"],
        )
    return FeatureEncoder(
        profile=Profile(**{name: tuple(columns) for name, columns in known["profile"].items()}),
        history=known["history"],
        prior=known["prior"],
        value_spread=known["value_spread"],
        columns=tuple(known["columns"]),
        scales={name: tuple(scale) for name, scale in known["scales"].items()},
        vocabularies={name: tuple(values) for name, values in known["vocabularies"].items()},
        item_ids=tuple(known["item_ids"]),
        user_texts=tuple(known["user_texts"]),
        signal=ItemSignal(arrays["signal.bias"].numpy(), arrays["signal.factors"].numpy()),
        basis=basis,
        item_texts=arrays["item_texts"].numpy(),
    )
