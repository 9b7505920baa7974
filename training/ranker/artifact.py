"""A trained ranker on disk: everything that scoring needs, and what it was made of.

`artifact.json` holds configuration, vocabularies and provenance, `arrays.safetensors` every
array. A reader sees the old model or the new model, never half of one.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from feast_fusion.errors import EncoderMismatchError, FeatureNotFoundError, SchemaError
from feast_fusion.files import digest_file, recover_folder, replaced_folder
from feast_fusion.sealed_json import read_json, write_json
from feast_fusion.training_set import TrainingSet
from intake.model_settings import RankerConfig
from training.next_item.model import NextItemModel
from training.next_item.model_file import arrays_of, build_model, describe_model
from training.ranker.batching import RankerInputs
from training.ranker.category_columns import Vocabulary
from training.ranker.columns import Profile
from training.ranker.feature_encoder import FeatureEncoder
from training.ranker.model import InputShape, Ranker
from training.ranker.text_projection import TextProjection
from transformations.id_map import IdMap

FORMAT = 6
_DESCRIPTION = "artifact.json"
_ARRAYS = "arrays.safetensors"
_RANKER, _NEXT_ITEM = "ranker.", "next_item."  # before the name of a weight
_SCORED_TOGETHER = 4096
_VERSION_DIGITS = 12


@dataclass(frozen=True)
class Artifact:
    """A ranker with the encoder of its inputs.

    Attributes
    ----------
    encoder_id : of the text vectors it was trained on, None without any
    service : feature service it reads
    metrics : measured when it was trained
    next_item : of what is chosen next; None where only the ranker was fitted
    version : tells it from others, None before it is saved: first digits of the arrays' digest
    """

    features: FeatureEncoder
    ranker: Ranker
    encoder_id: str | None
    service: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    next_item: NextItemModel | None = None
    version: str | None = None

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

    def require_next_item(self) -> NextItemModel:
        """The model of what is chosen next.

        Raises
        ------
        FeatureNotFoundError
            The artifact has none.
        """
        if self.next_item is None:
            raise FeatureNotFoundError(
                "artifact: got a ranker alone, expected the next-item model beside it, which finds "
                "candidates. Run feast-fusion train."
            )
        return self.next_item

    def save(self, folder: str | Path) -> Path:
        """Write to `folder`, replacing what is there; it appears complete or not at all."""
        folder = Path(folder).expanduser().absolute()
        with replaced_folder(folder) as building:
            save_file(self._arrays(), building / _ARRAYS)
            described = self._description() | {"sha256": digest_file(building / _ARRAYS)}
            write_json(building / _DESCRIPTION, described)
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
        recover_folder(folder)
        description, arrays = _read(folder)
        try:
            ranker = Ranker(
                RankerConfig(**description["ranker"]), InputShape(**description["shape"])
            )
            ranker.load_state_dict(_under(_RANKER, arrays))
            return cls(
                _features(description["features"], arrays),
                ranker.eval(),
                description["encoder_id"],
                description["service"],
                description["metrics"],
                build_model(description["next_item"], _under(_NEXT_ITEM, arrays))
                if description["next_item"] is not None
                else None,
                description["sha256"][:_VERSION_DIGITS],
            )
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise SchemaError(
                f"{folder}: got an artifact that does not fit together ({error}), expected one "
                "written by this version. Run feast-fusion train again."
            ) from error

    def _arrays(self) -> dict[str, torch.Tensor]:
        features = self.features
        projection = features.text_projection
        arrays = {"items.texts": features.item_texts}
        if projection is not None:
            arrays |= {"text.mean": projection.mean, "text.components": projection.components}
        tensors = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}
        weights = self.ranker.state_dict()
        tensors |= {f"{_RANKER}{name}": w.contiguous() for name, w in weights.items()}
        if self.next_item is not None:
            found = arrays_of(self.next_item)
            tensors |= {f"{_NEXT_ITEM}{name}": array for name, array in found.items()}
        return tensors

    def _description(self) -> dict[str, Any]:
        features, projection = self.features, self.features.text_projection
        return {
            "format": FORMAT,
            "versions": {name: version(name) for name in ("feast-fusion", "torch", "numpy")},
            "service": self.service,
            "encoder_id": self.encoder_id,
            "metrics": dict(self.metrics),
            "ranker": self.ranker.config.model_dump(),
            "shape": self.ranker.shape.model_dump(),
            "next_item": describe_model(self.next_item) if self.next_item is not None else None,
            "features": {
                "profile": asdict(features.profile),
                "history": features.history,
                "prior": features.prior,
                "value_spread": features.value_spread,
                "columns": features.columns,
                "scales": dict(features.scales),
                "vocabularies": {
                    name: asdict(vocabulary) for name, vocabulary in features.vocabularies.items()
                },
                "item_ids": features.items.ids.to_pylist(),
                "user_texts": features.user_texts,
                "outcomes": features.outcomes,
                "text_spread": projection.spread if projection else None,
            },
        }


def read_description(folder: Path) -> dict[str, Any]:
    """What `artifact.json` in `folder` says; `SchemaError` where it is missing or damaged."""
    return read_json(folder / _DESCRIPTION)


def probabilities(ranker: Ranker, inputs: RankerInputs) -> NDArray[np.float32]:
    """(n,) probabilities of being liked."""
    found: NDArray[np.float32] = every_probability(ranker, inputs)[:, 0]
    return found


def every_probability(ranker: Ranker, inputs: RankerInputs) -> NDArray[np.float32]:
    """(n, 1 + K) sigmoid of the ranker's logits, of being liked and of the outcomes, on the CPU."""
    starts = range(0, len(inputs), _SCORED_TOGETHER)
    with torch.inference_mode():
        batches = (inputs.batch(slice(at, at + _SCORED_TOGETHER)) for at in starts)
        parts = [torch.sigmoid(ranker.every(batch)) for batch in batches]
    nothing = np.zeros((0, 1 + ranker.shape.outcomes), np.float32)
    scores: NDArray[np.float32] = torch.cat(parts).cpu().numpy() if parts else nothing
    return scores


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    for name in (_DESCRIPTION, _ARRAYS):
        if not (folder / name).is_file():
            raise FeatureNotFoundError(
                f"{folder / name}: got no such file, expected a trained artifact. "
                "Run feast-fusion train first."
            )
    try:
        description = read_json(folder / _DESCRIPTION)
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
    if description.get("sha256") != digest_file(folder / _ARRAYS):
        raise SchemaError(
            f"{folder / _ARRAYS}: got bytes of another digest than {_DESCRIPTION} names, expected "
            "the file written with it. Run feast-fusion train again."
        )
    return description, arrays


def _under(prefix: str, arrays: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): of for name, of in arrays.items() if name.startswith(prefix)}


def _features(known: dict[str, Any], arrays: dict[str, torch.Tensor]) -> FeatureEncoder:
    projection = None
    if known["text_spread"] is not None:
        projection = TextProjection(
            arrays["text.mean"].numpy(), arrays["text.components"].numpy(), known["text_spread"]
        )
    return FeatureEncoder(
        profile=Profile(**{name: tuple(columns) for name, columns in known["profile"].items()}),
        history=known["history"],
        prior=known["prior"],
        value_spread=known["value_spread"],
        columns=tuple(known["columns"]),
        scales={name: tuple(scale) for name, scale in known["scales"].items()},
        vocabularies={
            name: Vocabulary(tuple(of["values"]), of["buckets"], of["shared"])
            for name, of in known["vocabularies"].items()
        },
        items=IdMap(pa.array(known["item_ids"], pa.string())),
        user_texts=tuple(known["user_texts"]),
        text_projection=projection,
        item_texts=arrays["items.texts"].numpy(),
        outcomes=tuple(known["outcomes"]),
    )
