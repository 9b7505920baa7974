"""The blocks of a transformer, compiled for a GPU.

Between its matrix products a block runs dozens of small kernels that each read and write all
states: two thirds of the time of a decoder of 0.6 B parameters. Compiled, they are a few. Blocks of
one class are compiled once, in seconds, where a whole model takes most of a minute.
"""

import logging

import numpy as np
import torch

from feast_fusion.encoding.probes import Encode, probe

# Compiling takes about ten seconds, in which a GPU would do about this without it.
PAYS_FROM_OPERATIONS = 2e15
_LOWEST_COSINE = 0.999  # of two ways to round to 8 significant bits

_log = logging.getLogger(__name__)


def repeated_blocks(model: torch.nn.Module) -> list[torch.nn.Module]:
    """The modules of the list that holds most of the parameters; none where there is no list."""
    lists = [each for each in model.modules() if isinstance(each, torch.nn.ModuleList)]
    return list(max(lists, key=n_parameters, default=[]))


def n_parameters(model: torch.nn.Module) -> int:
    """Numbers that a model was trained to."""
    return sum(each.numel() for each in model.parameters())


def compile_blocks(blocks: list[torch.nn.Module], encode: Encode, encoder_id: str) -> None:
    """Compile `blocks`, with which `encode` computes; they stay as they are where that fails.

    It fails where there is no compiler, where it does not know an operation, and where the vectors
    become others. TORCHDYNAMO_DISABLE=1 of PyTorch forbids it.
    """
    before = probe(encode)
    for block in blocks:
        block.forward = torch.compile(block.forward, dynamic=True)
    try:
        lowest = float(np.einsum("pd,pd->p", probe(encode), before).min())
        failed = None if lowest >= _LOWEST_COSINE else f"cosine {lowest:.5f} to the vectors before"
    except (RuntimeError, ImportError, OSError) as error:
        failed = str(error).strip().partition("\n")[0] or type(error).__name__
    if failed:
        _log.warning("%s is not compiled: %s", encoder_id, failed)
        for block in blocks:
            del block.forward
