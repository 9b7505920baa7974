"""Fitting the sequence encoder to events, and scoring histories with it."""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.checkpoint import Checkpoints
from training.next_item.sequence_log import (
    Log,
    Windows,
    event_numbers,
    fit_scale,
    pause_numbers,
)
from training.next_item.sequence_model import N_NUMBERS, SequenceBatch, SequenceModel
from training.next_item.sequence_state import SequenceState
from transformations.collaborative.histories import Events, Histories, Ints

_SCORED_AT_ONCE = 512
_IMPOSSIBLE = -1e9
# Where items that nobody met stand among the others, and windows that say where it is.
_RARE = 0.05
_LOOKED_AT = 256

Report = Callable[[int, float], None]
"""Called after an epoch with how many there were in all, and its loss."""


class SequenceFitter:
    """Fits a model to the first rows of `events`, again and again as more of them count.

    Parameters
    ----------
    seed : of the order of the windows, dropout and what is forgotten
    repeats : whether an item may be chosen again
    checkpoints : where each fit is kept after each epoch, and gone on from
    """

    def __init__(
        self,
        model: SequenceModel,
        events: Events,
        seed: int,
        *,
        repeats: bool = False,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self.model = model
        self._events, self._repeats, self._checkpoints = events, repeats, checkpoints
        self._n_rows = self._n_fits = self._n_epochs = 0
        self._rng = np.random.default_rng(seed)
        self._generator = torch.Generator().manual_seed(seed)

    def fit(self, n_rows: int, epochs: int, report: Report | None = None) -> float:
        """Some passes over the first `n_rows` events; the mean loss of the last, nats an event.

        A pass reads all that is new since the last call, and a share of what was read before.
        """
        model, config = self.model.train(), self.model.config
        met = np.bincount(self._events.item[:n_rows], minlength=model.n_items) > 0
        model.met.copy_(torch.from_numpy(met))
        if not self._n_rows:
            model.scale.copy_(torch.from_numpy(fit_scale(self._events, n_rows)))
        log = Log(self._events, n_rows, model, n_read=self._n_rows, repeats=self._repeats)
        self._n_rows = n_rows
        optimizer = torch.optim.AdamW(
            model.parameters(), config.learning_rate, (0.9, 0.98), weight_decay=config.weight_decay
        )
        n_windows = len(log.epoch(self._rng).end)
        n_steps = epochs * math.ceil(1.2 * n_windows / config.batch_size + 2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, config.learning_rate, total_steps=n_steps, pct_start=0.15
        )
        fit = SequenceState(model, optimizer, schedule, self._rng, self._generator)
        self._n_fits += 1
        kept = self._checkpoints.of(f"sequence.{self._n_fits}") if self._checkpoints else None
        losses = fit.restore(kept) if kept else []
        self._n_epochs += len(losses)
        while len(losses) < epochs:
            of_steps = [
                self._step(log, windows, optimizer, schedule)
                for windows in log.batches(self._rng, config.batch_size)
            ]
            known = [loss for loss in of_steps if not math.isnan(loss)]
            losses.append(sum(known) / len(known) if known else math.nan)
            self._n_epochs += 1
            if kept is not None:
                fit.save(kept, losses)
            if report is not None:
                report(self._n_epochs, losses[-1])
        model.eval()
        _place_new_items(model, log, self._rng)
        return losses[-1]

    def _step(
        self,
        log: Log,
        windows: Windows,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.OneCycleLR,
    ) -> float:
        model, device = self.model, self.model.side.device
        batch, targets = log.batch(windows)
        if not len(targets.place):
            return float("nan")
        chance = torch.rand(model.n_items, generator=self._generator)
        kept = (chance >= model.config.forget).float().to(device)
        states = model.states(batch.to(device), model.events(kept)).flatten(0, 1)  # (B * T, d)
        asked, which = np.unique(targets.place, return_inverse=True)
        logits = model.logits(states[asked], model.answers(kept))  # (m, i)
        impossible = log.impossible(windows, asked, batch.items.shape[1], device)
        items = targets.item
        weights = torch.from_numpy(targets.weight).to(device) * ~impossible[which, items]
        losses = -logits.masked_fill_(impossible, _IMPOSSIBLE).log_softmax(dim=1)[which, items]
        loss = (weights * losses).sum() / weights.sum().clamp(min=1e-6)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        return float(loss.detach())


@torch.no_grad()
def _place_new_items(model: SequenceModel, log: Log, rng: np.random.Generator) -> None:
    """Gives items that nobody met a bias by which they stand, on average, with the rarest."""
    windows = log.windows(rng)
    n = min(_LOOKED_AT, len(windows.end))
    batch, targets = log.batch(windows.take(rng.choice(len(windows.end), n, replace=False)))
    if not len(targets.place):
        return
    device = model.side.device
    states = model.states(batch.to(device), model.events()).flatten(0, 1)
    usual = states[targets.place].mean(dim=0, keepdim=True)  # (1, d)
    met = model.met > 0
    levels = model.logits(usual, model.answers())[0]  # (i,)
    described = model.logits(usual, model.answer_side(model.side))[0] - model.answer_bias
    model.new_bias.copy_(levels[met].quantile(_RARE) - described.mean())
    model.answer_bias[~met] = model.new_bias


@torch.inference_mode()
def score_histories(
    model: SequenceModel, histories: Histories, tables: tuple[Tensor, Tensor] | None = None
) -> NDArray[np.float32]:
    """(q, n_items) logits of every item after each history, of which the newest events count.

    Parameters
    ----------
    tables : `model.events()` and `model.answers()`, where the caller has them
    """
    device, parts = model.side.device, []
    events, answers = (model.events(), model.answers()) if tables is None else tables
    for start in range(0, len(histories), _SCORED_AT_ONCE):
        part = histories.take(np.arange(start, min(start + _SCORED_AT_ONCE, len(histories))))
        batch, last = batch_histories(part, model)
        states = model.states(batch.to(device), events)
        chosen = states[torch.arange(len(part), device=device), last]
        parts.append(model.logits(chosen, answers).cpu().numpy())
    return np.concatenate(parts) if parts else np.zeros((0, model.n_items), np.float32)


def batch_histories(histories: Histories, model: SequenceModel) -> tuple[SequenceBatch, Ints]:
    """The newest events of each history, and (q,) the place behind the newest."""
    length, n = model.config.length, len(histories)
    kept = np.minimum(histories.lengths, length)
    width = int(kept.max(initial=0)) + 1
    is_kept = histories.place < length
    which = histories.query[is_kept]
    at = kept[which] - histories.place[is_kept]
    items = np.full((n, width), model.n_items + 1)
    items[:, 0] = model.n_items
    items[which, at] = histories.item[is_kept]
    age = histories.age_s[is_kept]
    gap_s = np.zeros(len(age))
    gap_s[1:] = age[:-1] - age[1:]
    gap_s[at == 1] = 0.0
    numbers = np.zeros((n, width, N_NUMBERS), np.float32)
    numbers[which, at] = event_numbers(
        histories.positive[is_kept], histories.value[is_kept], gap_s, model
    )
    idle = np.zeros((n, width, 2), np.float32)
    idle[np.arange(n), kept] = pause_numbers(histories.idle_s, model)
    tensors = (torch.from_numpy(array) for array in (items, numbers, idle))
    return SequenceBatch(*tensors), kept
