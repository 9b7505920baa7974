"""A next-item model as JSON and arrays, which an artifact holds beside its ranker."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import torch

from intake.model_settings import NextItemConfig
from training.next_item.chooser import Chooser
from training.next_item.item_side import ItemSide
from training.next_item.model import NextItemModel, signal_names
from training.next_item.sequence_model import SequenceModel
from training.ranker.text_projection import TextProjection
from transformations.id_map import IdMap

Arrays = Mapping[str, torch.Tensor]

_SEQUENCE, _CHOOSER = "sequence.", "chooser."
_MEAN, _COMPONENTS = "side.mean", "side.components"


def describe_model(model: NextItemModel) -> dict[str, Any]:
    """All but the arrays, for JSON."""
    side = model.side
    return {
        "config": model.config.model_dump(),
        "fitted_until": model.fitted_until,
        "item_ids": model.items.ids.to_pylist(),
        "side_width": model.sequence.side.shape[1],
        "vocabularies": dict(side.vocabularies),
        "knots": dict(side.knots),
        "text_spread": side.projection.spread if side.projection else None,
    }


def arrays_of(model: NextItemModel) -> dict[str, torch.Tensor]:
    """Every array by name."""
    found = {f"{_SEQUENCE}{name}": of for name, of in model.sequence.state_dict().items()}
    found |= {f"{_CHOOSER}{name}": of for name, of in model.chooser.state_dict().items()}
    if model.side.projection is not None:
        found[_MEAN] = torch.from_numpy(model.side.projection.mean)
        found[_COMPONENTS] = torch.from_numpy(model.side.projection.components)
    return {name: of.detach().contiguous() for name, of in found.items()}


def build_model(known: Mapping[str, Any], arrays: Arrays) -> NextItemModel:
    """The model that `describe_model` and `arrays_of` tell of."""
    config, items = (
        NextItemConfig(**known["config"]),
        IdMap(pa.array(known["item_ids"], pa.string())),
    )
    sequence = SequenceModel(config.sequence, torch.zeros(len(items), known["side_width"]))
    sequence.load_state_dict(_under(_SEQUENCE, arrays))
    chooser = Chooser(config.chooser, len(signal_names(config.repeats)))
    chooser.load_state_dict(_under(_CHOOSER, arrays))
    projection = None
    if known["text_spread"] is not None:
        mean, components = arrays[_MEAN].numpy(), arrays[_COMPONENTS].numpy()
        projection = TextProjection(mean, components, known["text_spread"])
    side = ItemSide(
        projection,
        {name: tuple(values) for name, values in known["vocabularies"].items()},
        {name: tuple(knots) for name, knots in known["knots"].items()},
    )
    return NextItemModel(
        config, known["fitted_until"], items, side, sequence.eval(), chooser.eval()
    )


def _under(prefix: str, arrays: Arrays) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): of for name, of in arrays.items() if name.startswith(prefix)}
