"""The texts of choices: of an item as it was known then, of what the user had done before."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from intake.workspace import Workspace
from training.encoder_tuning.choices import Choices
from transformations.behaviour_snapshots import titles_of
from transformations.cleaning import clean
from transformations.collaborative.histories import Ints
from transformations.text import CountTokens, render_behaviours
from transformations.writing import ItemTexts


@dataclass(frozen=True)
class ChoiceTexts:
    """Texts as a data set's encoder gets them.

    Attributes
    ----------
    count_tokens, n_special_tokens, max_tokens : of the encoder, for behaviour texts
    """

    choices: Choices
    workspace: Workspace
    count_tokens: CountTokens
    n_special_tokens: int
    max_tokens: int

    @cached_property
    def items(self) -> list[str]:
        """(v,) the text of each version of each item; may be empty."""
        return self._cleaned(ItemTexts(self.workspace).render(self.choices.versions.table))

    @cached_property
    def known(self) -> list[str]:
        """The distinct texts that were known at the last choice, none of them empty."""
        last = self.choices.time.max()
        is_known = self.choices.versions.known_from <= last
        return sorted({self.items[at] for at in np.flatnonzero(is_known)} - {""})

    def behaviours(self, rows: Ints) -> list[str]:
        """What the users of some choices had liked and disliked strictly before; "" for nothing."""
        history = self.workspace.dataset.activity.history
        choices = self.choices
        found = choices.events.histories(choices.user[rows], choices.time[rows], history)
        sides: tuple[list[list[str]], list[list[str]]] = ([], [])
        for at, now in enumerate(choices.time[rows]):
            events = slice(found.offsets[at], found.offsets[at + 1])
            newest = dict[int, bool]()
            for item, liked in zip(
                found.item[events][::-1], found.positive[events][::-1], strict=True
            ):
                newest.setdefault(int(item), bool(liked))
            for side, wanted in zip(sides, (True, False), strict=True):
                items = np.array([i for i, liked in newest.items() if liked == wanted], np.int64)
                side.append(self._titles_at(items, int(now)))
        return render_behaviours(
            *sides,
            max_tokens=min(self.workspace.dataset.activity.behaviour_tokens, self.max_tokens),
            count_tokens=self.count_tokens,
            n_special_tokens=self.n_special_tokens,
        )

    def _titles_at(self, items: Ints, now: int) -> list[str]:
        rows = self.choices.versions.as_of(items, np.full(len(items), now))
        return [self._titles[row] for row in rows]

    @cached_property
    def _titles(self) -> list[str]:
        titles: pa.Array = titles_of(self.choices.versions, self.workspace.dataset)
        return self._cleaned([title or "" for title in titles.to_pylist()])

    def _cleaned(self, texts: Sequence[str]) -> list[str]:
        return [clean(text, self.workspace.dataset.cleaning) for text in texts]
