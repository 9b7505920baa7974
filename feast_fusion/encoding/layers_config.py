"""Layers behind the pooling, as their files describe them. Imports no torch."""

from dataclasses import dataclass
from pathlib import Path

from feast_fusion.encoding.model_files import (
    digest_file,
    read_json,
    require_sound_weights,
    weight_files,
)
from feast_fusion.errors import FeatureNotFoundError, schema_error

# Classes of torch.nn that sentence-transformers names in full: torch.nn.modules.activation.Tanh.
ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "SiLU", "Sigmoid", "LeakyReLU", "ELU", "Mish")


@dataclass(frozen=True)
class Layer:
    """One of Dense, LayerNorm, Normalize.

    Attributes
    ----------
    folder : of its weights
    width_in, width_out : of a Dense
    activation : of a Dense, a class of torch.nn
    bias, residual : whether a Dense has them
    """

    kind: str
    folder: Path
    width_in: int = 0
    width_out: int = 0
    activation: str = "Identity"
    bias: bool = True
    residual: bool = False

    def digest(self) -> dict[str, object]:
        """What decides its vectors."""
        weights = [digest_file(path) for path in weight_files(self.folder)]
        if self.kind == "Normalize":
            return {"kind": self.kind}
        options = [self.width_in, self.width_out, self.activation, self.bias, self.residual]
        return {"kind": self.kind, "options": options, "weights": weights}


def read_layer(kind: str, folder: Path) -> Layer:
    """A layer from its config.json.

    Raises
    ------
    FeatureNotFoundError
        It has no weights, or a Dense no config.json.
    SchemaError
        Its weights are not whole, or it asks for what is not built in.
    """
    config = read_json(folder / "config.json")
    for key in ("module_input_name", "module_output_name"):
        if config.get(key) not in (None, "sentence_embedding"):
            raise _not_built_in(folder, f"{key} = {config[key]}", "sentence_embedding")
    if kind == "Normalize":
        return Layer(kind, folder)
    if not config or not weight_files(folder):
        raise FeatureNotFoundError(
            f"model layer {folder}: got no config.json or no weights, expected both. "
            "Fetch the model whole."
        )
    require_sound_weights(folder)
    if kind == "LayerNorm":
        return Layer(kind, folder, config["dimension"], config["dimension"])
    named = config.get("activation_function", "torch.nn.modules.activation.Tanh")
    package, _, activation = named.rpartition(".")
    if activation not in ACTIVATIONS or not package.startswith("torch.nn"):
        raise _not_built_in(folder, f"activation {named}", f"one of {', '.join(ACTIVATIONS)}")
    return Layer(
        kind,
        folder,
        config["in_features"],
        config["out_features"],
        activation,
        config.get("bias", True),
        config.get("use_residual", False),
    )


def _not_built_in(folder: Path, got: str, expected: str) -> Exception:
    remedy = "Choose another model: this layer is not built in."
    return schema_error(f"model layer {folder}", got=got, expected=expected, remedy=remedy)
