"""Fitting the sequence encoder to events, and scoring histories with it."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.next_item.sequence_model import N_NUMBERS, SequenceBatch, SequenceModel
from transformations.collaborative.histories import Events, Histories, Ints
from transformations.event_log import SECOND_US

# A pause after which a new visit begins, and the longest that is told apart.
_VISIT_S = 3600.0
_MAX_PAUSE_S = 30 * 86_400.0
_SCORED_AT_ONCE = 512
_IMPOSSIBLE = -1e9
# Where items that nobody met stand among the others, and windows that say where it is.
_RARE = 0.05
_LOOKED_AT = 256

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Windows:
    """m windows of the events of users; every event is to be predicted once.

    Window i reads the rows `begin[i]` to `end[i]` of the log by user, and predicts those from
    `fresh[i]` on. `first[i]` is the first row of its user.
    """

    first: Ints
    begin: Ints
    fresh: Ints
    end: Ints

    def take(self, which: Ints) -> "_Windows":
        return _Windows(self.first[which], self.begin[which], self.fresh[which], self.end[which])


class SequenceFitter:
    """Fits a model to the first rows of `events`, again and again as more of them count.

    Parameters
    ----------
    seed : of the order of the windows, dropout and what is forgotten
    repeats : whether an item may be chosen again
    """

    def __init__(
        self, model: SequenceModel, events: Events, seed: int, *, repeats: bool = False
    ) -> None:
        self.model = model
        self._events, self._repeats = events, repeats
        self._n_rows = 0
        self._rng = np.random.default_rng(seed)
        self._generator = torch.Generator().manual_seed(seed)

    def fit(self, n_rows: int, epochs: int, progress: Progress | None = None) -> float:
        """Some passes over the first `n_rows` events; the mean loss of the last, nats an event.

        A pass reads all that is new since the last call, and a share of what was read before.
        """
        model, config = self.model.train(), self.model.config
        met = np.bincount(self._events.item[:n_rows], minlength=model.n_items) > 0
        model.met.copy_(torch.from_numpy(met))
        if not self._n_rows:
            model.scale.copy_(torch.from_numpy(_scale(self._events, n_rows)))
        log = _Log(self._events, n_rows, model, n_read=self._n_rows, repeats=self._repeats)
        self._n_rows = n_rows
        optimizer = torch.optim.AdamW(
            model.parameters(), config.learning_rate, (0.9, 0.98), weight_decay=config.weight_decay
        )
        n_windows = len(log.epoch(self._rng).end)
        n_steps = epochs * math.ceil(1.2 * n_windows / config.batch_size + 2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, config.learning_rate, total_steps=n_steps, pct_start=0.15
        )
        loss = float("nan")
        for epoch in range(epochs):
            losses = [
                self._step(log, windows, optimizer, schedule)
                for windows in log.batches(self._rng, config.batch_size)
            ]
            loss = float(np.nanmean(losses))
            if progress is not None:
                progress(epoch + 1, epochs)
        model.eval()
        _place_new_items(model, log, self._rng)
        return loss

    def _step(
        self,
        log: "_Log",
        windows: _Windows,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.OneCycleLR,
    ) -> float:
        model, device = self.model, self.model.side.device
        batch, targets = log.batch(windows)
        if not len(targets.place):
            return float("nan")
        chance = torch.rand(model.n_items, generator=self._generator)
        kept = (chance >= model.config.forget).float().to(device)
        states = model.states(batch.to(device), kept).flatten(0, 1)  # (B * T, d)
        asked, which = np.unique(targets.place, return_inverse=True)
        logits = model.logits(states[_long(asked, device)], model.answers(kept))  # (m, i)
        impossible = log.impossible(windows, asked, batch.items.shape[1], device)
        rows, items = _long(which, device), _long(targets.item, device)
        weights = torch.from_numpy(targets.weight).to(device) * ~impossible[rows, items]
        losses = -logits.masked_fill_(impossible, _IMPOSSIBLE).log_softmax(dim=1)[rows, items]
        loss = (weights * losses).sum() / weights.sum().clamp(min=1e-6)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        return float(loss.detach())


@dataclass(frozen=True)
class _Targets:
    """What is to be predicted: item after the flat place (b * T + t), and its weight."""

    place: Ints
    item: Ints
    weight: NDArray[np.float32]


class _Log:
    """The first rows of a log, by user and time, as windows and batches."""

    def __init__(
        self, events: Events, n_rows: int, model: SequenceModel, *, n_read: int, repeats: bool
    ) -> None:
        self._config, self._n_items, self._repeats = model.config, model.n_items, repeats
        self._never_met = np.flatnonzero(model.met.cpu().numpy() == 0)
        rows = np.lexsort((np.arange(n_rows), events.user[:n_rows]))
        user = events.user[rows]
        self.is_new = rows >= n_read
        self.item, self.time = events.item[rows], events.time[rows]
        self.positive = events.positive[rows]
        self.starts = np.flatnonzero(np.append(True, user[1:] != user[:-1])) if n_rows else rows
        self.ends = np.append(self.starts[1:], n_rows)
        instant = np.append(True, (user[1:] != user[:-1]) | (self.time[1:] != self.time[:-1]))
        began = np.flatnonzero(instant) if n_rows else rows
        self.before = began[np.cumsum(instant) - 1] if n_rows else rows  # first row of its instant
        first = np.repeat(self.starts, self.ends - self.starts)
        gap_s = np.append(0.0, np.diff(self.time)) / 1e6
        gap_s[self.starts] = 0.0
        self.numbers = _numbers(self.positive, events.value[rows], gap_s, model)
        is_first = self.before == first
        previous = np.where(is_first, self.before, self.before - 1)
        self.idle = _idle((self.time - self.time[previous]) / 1e6, model)

    def windows(self, rng: np.random.Generator) -> _Windows:
        """Windows that overlap by half, from a random phase on."""
        length = self._config.length
        step = max(1, length // 2)
        parts = []
        for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True):
            cut = min(end, start + int(rng.integers(step, length + 1)))
            parts.append((start, start, start, cut))
            while cut < end:
                fresh, cut = cut, min(cut + step, end)
                parts.append((start, max(start, cut - length), fresh, cut))
        first, begin, fresh, end = np.array(parts, dtype=np.int64).reshape(-1, 4).T
        return _Windows(first, begin, fresh, end)

    def epoch(self, rng: np.random.Generator) -> _Windows:
        """The windows with new events, and a share of the others."""
        windows = self.windows(rng)
        is_read = self.is_new[windows.end - 1] | (
            rng.random(len(windows.end)) < self._config.replay
        )
        return windows.take(np.flatnonzero(is_read))

    def batches(self, rng: np.random.Generator, size: int) -> Iterator[_Windows]:
        """Windows of about one length together, in random order."""
        windows = self.epoch(rng)
        length = windows.end - windows.begin
        order = np.argsort(length + rng.uniform(0, 8, len(length)))
        parts = np.array_split(order, range(size, len(order), size))
        for at in rng.permutation(len(parts)):
            yield windows.take(parts[at])

    def batch(self, windows: _Windows) -> tuple[SequenceBatch, _Targets]:
        """What the model reads of the windows, and what it is to predict.

        Example: a window of events a, b, c of which b and c are of one instant has the places
        start, a, b, c. Event a is predicted at place 0; b and c at place 1, after a.
        """
        lengths = windows.end - windows.begin
        n, width = len(lengths), int(lengths.max()) + 1
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        which = np.repeat(np.arange(n), lengths)
        rows = np.repeat(windows.begin - offsets[:-1], lengths) + np.arange(offsets[-1])
        items = np.full((n, width), self._n_items + 1)
        items[:, 0] = self._n_items
        numbers = np.zeros((n, width, N_NUMBERS), np.float32)
        idle = np.zeros((n, width, 2), np.float32)
        at = rows - windows.begin[which] + 1
        items[which, at] = self.item[rows]
        numbers[which, at] = self.numbers[rows]
        # the place whose state knows everything before the instant of the event
        place = self.before[rows] - windows.begin[which]
        idle[which, np.maximum(place, 0)] = self.idle[rows]
        weight = np.where(self.positive[rows], 1.0, self._config.disliked).astype(np.float32)
        is_whole = (place > 0) | (windows.begin == windows.first)[which]
        wanted = (rows >= windows.fresh[which]) & (weight > 0) & (place >= 0) & is_whole
        targets = _Targets(
            which[wanted] * width + place[wanted], self.item[rows[wanted]], weight[wanted]
        )
        tensors = (torch.from_numpy(array) for array in (items, numbers, idle))
        return SequenceBatch(*tensors), targets

    def impossible(
        self, windows: _Windows, asked: Ints, width: int, device: torch.device
    ) -> Tensor:
        """(m, i) bool: items that cannot follow each asked place.

        An item that no event had cannot, nor, without repeats, one that the user had before.
        """
        lengths = windows.end - windows.first
        since = np.full((len(lengths), self._n_items), width + 1, dtype=np.int16)
        since[:, self._never_met] = 0
        if not self._repeats:
            which = np.repeat(np.arange(len(lengths)), lengths)
            offsets = np.concatenate([[0], np.cumsum(lengths)])
            rows = np.repeat(windows.first - offsets[:-1], lengths) + np.arange(offsets[-1])
            place = np.maximum(rows - windows.begin[which] + 1, 0).astype(np.int16)
            np.minimum.at(since, (which, self.item[rows]), place)
        found = torch.from_numpy(since).to(device)[_long(asked // width, device)]
        return found <= torch.from_numpy((asked % width).astype(np.int16)).to(device)[:, None]


@torch.no_grad()
def _place_new_items(model: SequenceModel, log: _Log, rng: np.random.Generator) -> None:
    """Gives items that nobody met a bias by which they stand, on average, with the rarest."""
    windows = log.windows(rng)
    n = min(_LOOKED_AT, len(windows.end))
    batch, targets = log.batch(windows.take(rng.choice(len(windows.end), n, replace=False)))
    if not len(targets.place):
        return
    device = model.side.device
    states = model.states(batch.to(device)).flatten(0, 1)
    usual = states[_long(targets.place, device)].mean(dim=0, keepdim=True)  # (1, d)
    met = model.met > 0
    levels = model.logits(usual, model.answers())[0]  # (i,)
    described = model.logits(usual, model.answer_side(model.side))[0] - model.answer_bias
    model.new_bias.copy_(levels[met].quantile(_RARE) - described.mean())
    model.answer_bias[~met] = model.new_bias


@torch.inference_mode()
def score_histories(model: SequenceModel, histories: Histories) -> NDArray[np.float32]:
    """(q, n_items) logits of every item after each history, of which the newest events count."""
    device, parts = model.side.device, []
    answers = model.answers()
    for start in range(0, len(histories), _SCORED_AT_ONCE):
        part = histories.take(np.arange(start, min(start + _SCORED_AT_ONCE, len(histories))))
        batch, last = batch_histories(part, model)
        states = model.states(batch.to(device))
        chosen = states[torch.arange(len(part), device=device), _long(last, device)]
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
    numbers[which, at] = _numbers(
        histories.positive[is_kept], histories.value[is_kept], gap_s, model
    )
    idle = np.zeros((n, width, 2), np.float32)
    idle[np.arange(n), kept] = _idle(histories.idle_s, model)
    tensors = (torch.from_numpy(array) for array in (items, numbers, idle))
    return SequenceBatch(*tensors), kept


def _scale(events: Events, n_rows: int) -> NDArray[np.float32]:
    """(2, 2) mean and deviation of values and of log pauses within the first rows."""
    order = np.argsort(events.user[:n_rows], kind="stable")
    pauses = np.diff(events.time[order])[np.diff(events.user[order]) == 0] // SECOND_US
    values = events.value[:n_rows]
    pauses = np.minimum(pauses[pauses > 0], _MAX_PAUSE_S)
    parts = values[~np.isnan(values)], np.log1p(pauses)
    found = [(part.mean(), part.std()) if len(part) else (0.0, 1.0) for part in parts]
    return np.array([(mean, spread if spread > 0 else 1.0) for mean, spread in found], np.float32)


def _numbers(
    positive: NDArray[np.bool_],
    value: NDArray[np.float32],
    gap_s: NDArray[np.float64],
    model: SequenceModel,
) -> NDArray[np.float32]:
    """(k, 5) numbers of events; 0 for a value or a pause that there is not."""
    mean, spread = model.scale[0].tolist()
    known = np.nan_to_num((value - mean) / spread)
    whole = np.floor(gap_s)
    columns = [positive, known, _pause(gap_s, model), whole > _VISIT_S, whole == 0]
    return np.stack(columns, axis=1).astype(np.float32)


def _idle(seconds: NDArray[np.float64], model: SequenceModel) -> NDArray[np.float32]:
    """(k, 2) numbers of pauses."""
    return np.stack([_pause(seconds, model), seconds > _VISIT_S], axis=1).astype(np.float32)


def _pause(seconds: NDArray[np.float64], model: SequenceModel) -> NDArray[np.float64]:
    mean, spread = model.scale[1].tolist()
    logs = np.log1p(np.minimum(np.floor(seconds), _MAX_PAUSE_S))
    found: NDArray[np.float64] = np.where(seconds >= 1, (logs - mean) / spread, 0.0)
    return found


def _long(values: Ints, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(device)
