"""Processes that fit one model together: each computes its share of every batch.

    torchrun --nproc-per-node 2 .venv/bin/feast-fusion train

Two processes take the same steps as one: they draw the same batches, the loss is that of the whole
batch, and the gradients of the shares are added up.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Processes:
    """This process is number `rank` of `n`; by default the only one."""

    rank: int = 0
    n: int = 1

    @property
    def is_first(self) -> bool:
        """Whether it is this process that writes and reports."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """The part of `rows` (B,) that this process computes."""
        return torch.tensor_split(rows, self.n)[self.rank]

    def gather(self, own: Tensor, rows: Tensor) -> Tensor:
        """(B, ...) values of all shares of `rows`; a gradient flows to this process's own only."""
        if self.n == 1:
            return own
        shares = torch.tensor_split(rows, self.n)
        start = sum(map(len, shares[: self.rank]))
        together = own.new_zeros((len(rows), *own.shape[1:]))
        together[start : start + len(own)] = own.detach()
        dist.all_reduce(together)
        return torch.cat([together[:start], own, together[start + len(own) :]])

    def add_gradients(self, module: nn.Module) -> None:
        """The gradient of every weight becomes its sum over the processes."""
        if self.n == 1:
            return
        weights = list(module.parameters())
        flat = torch.cat([_gradient(weight).flatten() for weight in weights])
        dist.all_reduce(flat)
        parts = torch.split(flat, [weight.numel() for weight in weights])
        for weight, part in zip(weights, parts, strict=True):
            weight.grad = part.view_as(weight)

    def agree(self, value: float, device: torch.device) -> float:
        """The value of the first process: no two decide differently."""
        if self.n == 1:
            return value
        told = torch.tensor([value], dtype=torch.float64, device=device)
        dist.broadcast(told, src=0)
        return float(told)


ALONE = Processes()


@contextmanager
def joined(rank: int, n: int, local_rank: int = 0) -> Iterator[Processes]:
    """The processes that torchrun started, met at the address that it set; one alone meets none.

    local_rank : number of the GPU, where there are GPUs
    """
    if n == 1:
        yield ALONE
        return
    has_gpu = torch.cuda.is_available()
    if has_gpu:
        torch.cuda.set_device(local_rank)
    dist.init_process_group("nccl" if has_gpu else "gloo", rank=rank, world_size=n)
    try:
        yield Processes(rank, n)
    finally:
        dist.destroy_process_group()


def _gradient(weight: Tensor) -> Tensor:
    """Zeros where no row of the share reached the weight."""
    return torch.zeros_like(weight) if weight.grad is None else weight.grad
