"""Token ids -> normalised vectors: a transformer, its pooling, the layers behind, the cut."""

import torch

from feast_fusion.encoding.layers import load_layers
from feast_fusion.encoding.model_loading import load_transformer
from feast_fusion.encoding.modules import Modules
from feast_fusion.encoding.pooling import pool


class SentenceNetwork(torch.nn.Module):
    """The whole way of a model from token ids to vectors.

    Token states are computed in `dtype`, all behind them in float32.

    Parameters
    ----------
    modules : of the model
    dimension : leading numbers that are kept
    dtype : of the transformer

    Raises
    ------
    SchemaError
        See `load_transformer` and `load_layers`.
    """

    def __init__(self, modules: Modules, dimension: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.transformer = load_transformer(modules.transformer, dtype)
        self.layers = load_layers(modules.layers)
        self._pooling = modules.pooling
        self._pools_prompt = modules.include_prompt
        self._dimension = dimension

    def forward(
        self, ids: torch.Tensor, mask: torch.Tensor, *, is_padded: bool, n_prompt: int
    ) -> torch.Tensor:
        """(B, dimension) float32, L2-normalised, of ids (B, L) under a mask (B, L)."""
        # Without padding the mask says nothing, and attention is faster without one.
        hidden = self.transformer(
            input_ids=ids, attention_mask=mask if is_padded else None
        ).last_hidden_state  # (B, L, d)
        skipped = 0 if self._pools_prompt else n_prompt
        pooled = [pool(hidden, mask, pooling, skipped) for pooling in self._pooling]
        vectors = self.layers(torch.cat(pooled, dim=1))
        return torch.nn.functional.normalize(vectors[:, : self._dimension], dim=1)
