"""Layers behind the pooling, computed in float32."""

import torch
from safetensors.torch import load_file

from feast_fusion.encoding.layers_config import Layer
from feast_fusion.encoding.model_files import weight_files
from feast_fusion.errors import schema_error


class _Normalize(torch.nn.Module):
    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(vectors, dim=1)


class _Norm(torch.nn.Module):
    """Names of weights as sentence-transformers saves them."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(layer.width_out)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        normed: torch.Tensor = self.norm(vectors)
        return normed


class _Dense(torch.nn.Module):
    """Names of weights as sentence-transformers saves them."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(layer.width_in, layer.width_out, bias=layer.bias)
        self.activation = getattr(torch.nn, layer.activation)()
        self.has_residual = layer.residual
        if layer.residual and layer.width_in != layer.width_out:
            self.residual = torch.nn.Linear(layer.width_in, layer.width_out, bias=False)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """(B, width_out) of (B, width_in)."""
        changed: torch.Tensor = self.activation(self.linear(vectors))
        if not self.has_residual:
            return changed
        is_projected = hasattr(self, "residual")
        return changed + (self.residual(vectors) if is_projected else vectors)


def load_layers(layers: tuple[Layer, ...]) -> torch.nn.Sequential:
    """The layers in order, their weights loaded; vectors (B, d) in, (B, d') out.

    Raises
    ------
    SchemaError
        Weights are absent, or there are others.
    """
    return torch.nn.Sequential(*map(_load, layers)).float().eval()


def _load(layer: Layer) -> torch.nn.Module:
    if layer.kind == "Normalize":
        return _Normalize()
    module = _Norm(layer) if layer.kind == "LayerNorm" else _Dense(layer)
    path = weight_files(layer.folder)[0]
    loaded = load_file(path) if path.suffix == ".safetensors" else _load_pickle(str(path))
    try:
        module.load_state_dict(loaded)
    except RuntimeError as error:
        raise schema_error(
            str(path),
            got=f"tensors {sorted(loaded)}",
            expected=f"{sorted(module.state_dict())} as config.json declares them",
            remedy="Fetch the model again.",
        ) from error
    return module


def _load_pickle(path: str) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return tensors
