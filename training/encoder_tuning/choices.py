"""What users chose before the split: the only thing that an encoder is tuned on."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from feast_fusion.errors import schema_error
from feast_fusion.parquet.whole import read_parquet
from intake.workspace import Workspace
from training.split import split_events
from transformations.collaborative.histories import Events, Flags, Floats, Ints, take_events
from transformations.collaborative.prepared_log import build_events
from transformations.item_versions import ItemVersions, build_item_versions
from transformations.names import INTERACTIONS, ITEMS

MIN_CHOICES = 20


@dataclass(frozen=True)
class Choices:
    """n first choices of an item by a user, in the order of time.

    Attributes
    ----------
    events : all that may be learned from, liked or not
    versions : of all items; codes of items are those of `events`
    row : (n,) of `events`
    version : (n,) the item's version as it was known at the choice
    """

    events: Events
    versions: ItemVersions
    row: Ints
    version: Ints

    def __len__(self) -> int:
        return len(self.row)

    @cached_property
    def user(self) -> Ints:
        """(n,) codes."""
        return self.events.user[self.row]

    @cached_property
    def time(self) -> Ints:
        """(n,) microseconds since the epoch."""
        return self.events.time[self.row]

    @cached_property
    def log_share(self) -> Floats:
        """(v,) log of the share of the choices that chose a version; -inf of none."""
        counts = np.bincount(self.version, minlength=len(self.versions.item))
        with np.errstate(divide="ignore"):
            shares: Floats = np.log(counts / len(self)).astype(np.float32)
        return shares

    @cached_property
    def _liked(self) -> sp.csr_matrix:
        """(u, i) whether a user liked an item at any time before the split."""
        liked = self.events.positive
        pairs = self.events.user[liked], self.events.item[liked]
        shape = len(self.events.users), len(self.events.items)
        return sp.csr_matrix((np.ones(len(pairs[0]), bool), pairs), shape=shape)

    def liked(self, users: Ints, versions: Ints) -> Flags:
        """(u, v) whether a user liked the item of a version at any time before the split."""
        found: Flags = self._liked[users][:, self.versions.item[versions]].toarray()
        return found

    def of_versions(self, versions: Ints) -> Ints:
        """(m,) all choices of some versions, by user, then time."""
        order, starts = self._by_version
        parts = [order[starts[v] : starts[v + 1]] for v in versions]
        rows = np.concatenate(parts)
        return rows[np.lexsort((self.time[rows], self.user[rows]))]

    @cached_property
    def _by_version(self) -> tuple[Ints, Ints]:
        order = np.argsort(self.version, kind="stable")
        wanted = np.arange(len(self.versions.item) + 1)
        return order, np.searchsorted(self.version[order], wanted)


def read_choices(workspace: Workspace, without: Ints | None = None) -> Choices:
    """Those of a workspace as last prepared, of the training part of `[split]`.

    Parameters
    ----------
    without : codes of items, in the order of the ids, whose events are left out

    Raises
    ------
    SchemaError
        See `build_choices`.
    """
    items, interactions = (read_parquet(workspace.source(name)) for name in (ITEMS, INTERACTIONS))
    events = build_events(items, interactions)
    rows = np.sort(split_events(events, workspace.dataset.split).train)
    if without is not None:
        rows = rows[~np.isin(events.item[rows], without)]
    return build_choices(take_events(events, rows), build_item_versions(items))


def build_choices(events: Events, versions: ItemVersions) -> Choices:
    """The positive events whose item was known by then, the first of a user and item each.

    Parameters
    ----------
    events : those that may be learned from
    versions : of all items of `events`

    Raises
    ------
    SchemaError
        There are too few.
    """
    liked = np.flatnonzero(events.positive)
    codes = versions.ids.codes(events.items.ids)  # the same ids, in the same order
    version = versions.as_of(codes[events.item[liked]], events.time[liked])
    is_known = versions.known_from[version] <= events.time[liked]
    pairs = events.user[liked] * len(events.items) + events.item[liked]
    is_first = np.zeros(len(liked), dtype=bool)
    is_first[np.unique(pairs, return_index=True)[1]] = True
    kept = is_known & is_first
    if kept.sum() < MIN_CHOICES:
        raise schema_error(
            "choices before the split",
            got=f"{kept.sum()} liked items whose text was known by then",
            expected=f"at least {MIN_CHOICES}",
            remedy="Bring more events, or move [split]. Where the times of items say when the "
            'table was made, `valid_from = "beginning"` in [items].',
        )
    return Choices(events, versions, liked[kept], version[kept])
