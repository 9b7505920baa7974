"""How precisely a model has to be computed on this machine, found by trying it when it is loaded.

Numbers of 8 significant bits (bfloat16) move some models' vectors, and move them otherwise in each
batch. A probe of texts decides.
"""

import logging

import numpy as np
import torch
from numpy.typing import NDArray

from feast_fusion.encoding.probes import PROBES, Encode, probe
from feast_fusion.errors import SchemaError

_LOWEST_COSINE = 0.9999

_log = logging.getLogger(__name__)


def fast_dtype(device: torch.device) -> torch.dtype:
    """The fastest numbers of a device."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    has = torch.cpu.get_capabilities()
    return torch.bfloat16 if has.get("avx512_bf16") or has.get("amx_bf16") else torch.float32


def is_precise(encode: Encode, exact: NDArray[np.float32], encoder_id: str) -> bool:
    """Whether the probes' vectors are those in float32, alone and in a batch with padding."""
    try:
        found = np.concatenate([probe(encode), encode(list(PROBES))])
    except (RuntimeError, SchemaError) as error:  # an operation that lacks it, or it overflows
        _log.info("%s is computed in float32: %s", encoder_id, error)
        return False
    lowest = float((found * np.concatenate([exact, exact])).sum(axis=1).min())
    if lowest < _LOWEST_COSINE:
        _log.info("%s is computed in float32: cosine %.5f otherwise.", encoder_id, lowest)
    return lowest >= _LOWEST_COSINE
