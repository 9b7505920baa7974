"""What the ranker reads, as tensors: distinct values once on the device, gathered per batch."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from training.ranker.item_texts import ItemTexts

Rows = Tensor | slice  # row numbers, or neighbours, which need not be copied


@dataclass(frozen=True)
class Distinct:
    """m distinct rows, then one row of zeros; a row's value is `values[index]`, -1 is absent."""

    values: Tensor  # (m + 1, ...)
    index: Tensor  # (N,)

    def at(self, rows: Rows) -> Tensor:
        """(B, ...) values of the rows, zeros where absent."""
        return self.values[self.index[rows]]

    def present(self, rows: Rows) -> Tensor:
        """(B,) bool."""
        return self.index[rows] >= 0

    def to(self, device: torch.device) -> "Distinct":
        """The same on a device."""
        return Distinct(self.values.to(device), self.index.to(device))


@dataclass(frozen=True)
class Batch:
    """B examples with H recent events each and U text vectors of the user.

    What is absent is zero, and False in its mask. R is B, or 1 where all examples have the same
    recent events, as the candidates of a request do.
    """

    structured: Tensor  # (B, S)
    categories: Tensor  # (B, W) codes from 1 on, 0 is none
    cosines: Tensor  # (B, U)
    collaborative: Tensor  # (B, C), in the second half 1 where a number of the first half is absent
    texts: Tensor  # (B, 1 + U, p): of the item, then of the user
    text_mask: Tensor  # (B, 1 + U) bool
    recent_mask: Tensor  # (R, H) bool
    recent_texts: Tensor  # (R, H, p)
    recent_text_mask: Tensor  # (R, H) bool, whether there is an event and its item has a vector
    recent_positives: Tensor  # (R, H), 0 or 1
    recent_values: Tensor  # (R, H), centred on the user's mean
    recent_ages: Tensor  # (R, H)


@dataclass(frozen=True)
class RankerInputs:
    """N rows, from which batches are gathered.

    Attributes
    ----------
    structured : (N, S)
    categories : (N, W) int32
    cosines : (N, U)
    collaborative : (N, C)
    users : (N,) int64, equal for equal users
    texts : of the item, then of the user
    recent_items : values (m + 1, H) rows of `known_texts`
    recent_events : values (m + 1, H, 4): mask, positive, centred value, age; index as recent_items
    known_texts : shared by all rows
    """

    structured: Tensor
    categories: Tensor
    cosines: Tensor
    collaborative: Tensor
    users: Tensor
    texts: tuple[Distinct, ...]
    recent_items: Distinct
    recent_events: Distinct
    known_texts: ItemTexts

    def __len__(self) -> int:
        return len(self.structured)

    def to(self, device: torch.device) -> "RankerInputs":
        """The same on a device."""
        moved: dict[str, Any] = {
            field.name: getattr(self, field.name).to(device)
            for field in fields(self)
            if field.name != "texts"
        }
        return replace(self, texts=tuple(text.to(device) for text in self.texts), **moved)

    def batch(self, rows: Rows) -> Batch:
        """The examples of B rows."""
        return Batch(
            structured=self.structured[rows],
            categories=self.categories[rows],
            cosines=self.cosines[rows],
            collaborative=self.collaborative[rows],
            texts=torch.stack([text.at(rows) for text in self.texts], dim=1),
            text_mask=torch.stack([text.present(rows) for text in self.texts], dim=1),
            **self._recent(rows),
        )

    @cached_property
    def _share_events(self) -> bool:
        """Whether all rows have the same recent events, as the candidates of a request have."""
        index = self.recent_items.index
        return len(self.recent_items.values) <= 2 and bool((index == index[:1]).all())

    def _recent(self, rows: Rows) -> dict[str, Tensor]:
        """The recent events of the rows, by their names in `Batch`."""
        if self._share_events:
            rows = slice(0, 1) if isinstance(rows, slice) else rows[:1]
        recent = self.recent_items.at(rows)  # (B, H)
        mask, positives, values, ages = self.recent_events.at(rows).unbind(dim=2)
        return {
            "recent_mask": mask > 0,
            # several times as fast as indexing by a tensor
            "recent_texts": F.embedding(recent, self.known_texts.vectors),
            "recent_text_mask": self.known_texts.mask[recent] & (mask > 0),
            "recent_positives": positives,
            "recent_values": values,
            "recent_ages": ages,
        }


def truncate_recent_lists(batch: Batch, share: float, generator: torch.Generator) -> Batch:
    """The batch where a `share` of the rows keep only their newest events, a random number.

    Training then also sees short histories of users whose history is long.
    """
    n_rows, history = batch.recent_mask.shape
    device = batch.recent_mask.device
    chosen = torch.rand(n_rows, generator=generator).to(device) < share
    kept = torch.randint(0, history + 1, (n_rows,), generator=generator).to(device)
    kept = torch.where(chosen, kept, history)
    mask = batch.recent_mask & (torch.arange(history, device=device) < kept[:, None])
    return replace(batch, recent_mask=mask, recent_text_mask=batch.recent_text_mask & mask)


def iterate_rows(
    n: int, size: int, generator: torch.Generator, users: Tensor | None = None
) -> Iterator[Tensor]:
    """Row numbers of the batches of one epoch, each row once, in a random order.

    Given `users` (N,), a user's rows stay together, which a pairwise loss needs.
    """
    order = torch.randperm(n, generator=generator)
    if users is not None:
        shuffled_users = torch.randperm(int(users.max()) + 1, generator=generator)
        order = order[torch.argsort(shuffled_users[users[order].cpu()], stable=True)]
    yield from torch.split(order, size)
