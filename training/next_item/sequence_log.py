"""A log of events as windows that a sequence encoder is fitted to, and the numbers of an event."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from intake.outliers import FARTHEST, without_outliers
from training.next_item.sequence_model import N_NUMBERS, SequenceBatch, SequenceModel
from transformations.collaborative.histories import Events, Ints
from transformations.event_log import SECOND_US

# A pause after which a new visit begins, and the longest that is told apart.
_VISIT_S = 3600.0
_MAX_PAUSE_S = 30 * 86_400.0


@dataclass(frozen=True)
class Windows:
    """m windows of the events of users; every event is to be predicted once.

    Window i reads the rows `begin[i]` to `end[i]` of the log by user, and predicts those from
    `fresh[i]` on. `first[i]` is the first row of its user.
    """

    first: Ints
    begin: Ints
    fresh: Ints
    end: Ints

    def take(self, which: Ints) -> "Windows":
        """The given windows."""
        return Windows(self.first[which], self.begin[which], self.fresh[which], self.end[which])


@dataclass(frozen=True)
class Targets:
    """What is to be predicted: item after the flat place (b * T + t), and its weight."""

    place: Ints
    item: Ints
    weight: NDArray[np.float32]


class Log:
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
        self.weight = events.weight[rows]
        self.starts = np.flatnonzero(np.append(True, user[1:] != user[:-1])) if n_rows else rows
        self.ends = np.append(self.starts[1:], n_rows)
        instant = np.append(True, (user[1:] != user[:-1]) | (self.time[1:] != self.time[:-1]))
        began = np.flatnonzero(instant) if n_rows else rows
        self.before = began[np.cumsum(instant) - 1] if n_rows else rows  # first row of its instant
        first = np.repeat(self.starts, self.ends - self.starts)
        gap_s = np.append(0.0, np.diff(self.time)) / 1e6
        gap_s[self.starts] = 0.0
        self.numbers = event_numbers(self.positive, events.value[rows], gap_s, model)
        is_first = self.before == first
        previous = np.where(is_first, self.before, self.before - 1)
        self.idle = pause_numbers((self.time - self.time[previous]) / 1e6, model)

    def windows(self, rng: np.random.Generator) -> Windows:
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
        return Windows(first, begin, fresh, end)

    def epoch(self, rng: np.random.Generator) -> Windows:
        """The windows with new events, and a share of the others."""
        windows = self.windows(rng)
        is_read = self.is_new[windows.end - 1] | (
            rng.random(len(windows.end)) < self._config.replay
        )
        return windows.take(np.flatnonzero(is_read))

    def batches(self, rng: np.random.Generator, size: int) -> Iterator[Windows]:
        """Windows of about one length together, in random order."""
        windows = self.epoch(rng)
        if not len(windows.end):  # nothing new, and by chance nothing to replay
            return
        length = windows.end - windows.begin
        order = np.argsort(length + rng.uniform(0, 8, len(length)))
        parts = np.array_split(order, range(size, len(order), size))
        for at in rng.permutation(len(parts)):
            yield windows.take(parts[at])

    def batch(self, windows: Windows) -> tuple[SequenceBatch, Targets]:
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
        weight *= self.weight[rows]
        is_whole = (place > 0) | (windows.begin == windows.first)[which]
        wanted = (rows >= windows.fresh[which]) & (weight > 0) & (place >= 0) & is_whole
        targets = Targets(
            which[wanted] * width + place[wanted], self.item[rows[wanted]], weight[wanted]
        )
        tensors = (torch.from_numpy(array) for array in (items, numbers, idle))
        return SequenceBatch(*tensors), targets

    def impossible(self, windows: Windows, asked: Ints, width: int, device: torch.device) -> Tensor:
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
        found = torch.from_numpy(since).to(device)[asked // width]
        return found <= torch.as_tensor((asked % width).astype(np.int16), device=device)[:, None]


def fit_scale(events: Events, n_rows: int) -> NDArray[np.float32]:
    """(2, 2) mean and deviation of values, outliers apart, and of log pauses in the first rows."""
    order = np.argsort(events.user[:n_rows], kind="stable")
    pauses = np.diff(events.time[order])[np.diff(events.user[order]) == 0] // SECOND_US
    values = events.value[:n_rows]
    pauses = np.minimum(pauses[pauses > 0], _MAX_PAUSE_S)
    parts = without_outliers(values[~np.isnan(values)]), np.log1p(pauses)
    found = [(part.mean(), part.std()) if len(part) else (0.0, 1.0) for part in parts]
    return np.array(
        [(mean, spread if spread > 1e-6 else 1.0) for mean, spread in found], np.float32
    )


def event_numbers(
    positive: NDArray[np.bool_],
    value: NDArray[np.float32],
    gap_s: NDArray[np.float64],
    model: SequenceModel,
) -> NDArray[np.float32]:
    """(k, 5) numbers of events; 0 for a value or a pause that there is not."""
    mean, spread = model.scale[0].tolist()
    known = np.clip(np.nan_to_num((value - mean) / spread), -FARTHEST, FARTHEST)
    whole = np.floor(gap_s)
    columns = [positive, known, _pause(gap_s, model), whole > _VISIT_S, whole == 0]
    return np.stack(columns, axis=1).astype(np.float32)


def pause_numbers(seconds: NDArray[np.float64], model: SequenceModel) -> NDArray[np.float32]:
    """(k, 2) numbers of pauses."""
    return np.stack([_pause(seconds, model), seconds > _VISIT_S], axis=1).astype(np.float32)


def _pause(seconds: NDArray[np.float64], model: SequenceModel) -> NDArray[np.float64]:
    mean, spread = model.scale[1].tolist()
    logs = np.log1p(np.minimum(np.floor(seconds), _MAX_PAUSE_S))
    found: NDArray[np.float64] = np.where(seconds >= 1, (logs - mean) / spread, 0.0)
    return found
