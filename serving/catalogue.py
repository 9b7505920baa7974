"""The items at one time: titles, popularity, vectors, what speaks for them, who has seen them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, lru_cache, partial

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureStore
from numpy.typing import NDArray

from feast_fusion.column_names import feature_column, vector_view
from feast_fusion.errors import FeatureNotFoundError
from feast_fusion.feature_service import encoder_of, open_service
from feast_fusion.parquet.opening import open_path, read_version
from feast_fusion.parquet.whole import read_parquet
from feast_fusion.times import TIMESTAMP, to_micros
from feast_fusion.training_set import TrainingSet
from intake.dataset import Interactions
from intake.posted.posted_versions import withdrawn_items
from intake.workspace import Workspace
from serving.availability import Availability, load_availability
from serving.filters.item_columns import ItemColumns
from serving.seen_items import SeenItems, load_seen_items
from serving.vector_index import Rows, VectorIndex, Vectors
from serving.wishes.meanings import Meanings
from serving.wishes.wording import Wording
from training.next_item.model import NextItemModel, NextItemScorer
from training.ranker.collaborative import Collaboration, CollaborativeUsers
from training.ranker.columns import Numbers
from training.ranker.columns import vectors as vectors_of
from training.retrieval import build_rows_of
from transformations import names
from transformations.collaborative.histories import Histories, Ints
from transformations.collaborative.item_factors import FactorVersion
from transformations.collaborative.versions import ItemVersion, Versions
from transformations.embedder import Embedder
from transformations.id_map import IdMap


@dataclass(frozen=True)
class Catalogue:
    """n items; an item's row is its place by popularity (positive events, all events, id).

    Attributes
    ----------
    items : the n item ids; the code of an item is its row
    titles : n titles, a title may be None
    popularity : (n,) between 0 and 1, descending; positive events relative to the most popular
    n_events : (n,) events of anybody with it
    fresh : (k,) rows of items that nobody has acted on, the newest first version first
    index : of the newest vectors
    wording : what the words of a query are compared with
    columns : what filters read
    availability : when items may be recommended, None where the data set does not say
    seen : who has seen what
    scorer : orders the items for a user
    collaboration : what other people's answers say of a user and an item
    by_id : (n,) the code of the item of each row among the items of `collaboration`
    interactions : what events of the data set mean
    """

    items: IdMap
    titles: Sequence[str | None]
    popularity: Vectors
    n_events: Rows
    fresh: Rows
    index: VectorIndex
    wording: Wording
    columns: ItemColumns
    availability: Availability | None
    seen: SeenItems
    scorer: NextItemScorer
    collaboration: Collaboration
    by_id: Rows
    interactions: Interactions

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def acted_on(self) -> NDArray[np.bool_]:
        """(n,) whether anybody has had an event with it."""
        return self.n_events > 0

    def rows_of(self, item_ids: Iterable[str]) -> Rows:
        """(k,) rows of the items that the catalogue has."""
        rows = self.items.codes(item_ids)
        return rows[rows >= 0]

    def passing(self, filter: str | None, now: datetime) -> NDArray[np.bool_] | None:
        """(n,) rows that a filter lets pass and that may be recommended now; None for all.

        Raises
        ------
        FilterError
            The filter is none, or does not fit the columns.
        """
        masks = [] if filter is None else [self.columns.passing(filter)]
        if self.availability is not None:
            masks.append(self.availability.at(now))
        return np.logical_and.reduce(masks) if masks else None

    def collaborators(self, histories: Histories) -> list["Collaborator"]:
        """The users of histories of rows of this catalogue."""
        known = replace(histories, item=self.by_id[histories.item])
        users = self.collaboration.users(known)
        return [Collaborator(users, place, self.by_id) for place in range(len(histories))]

    @cached_property
    def meanings(self) -> Callable[[Embedder], Meanings]:
        """The encoder of the vectors -> what its texts mean. Raises as `Embedder.queries`."""
        return lru_cache(maxsize=1)(partial(Meanings.of, self.wording.values, self.index))

    @cached_property
    def chosen_shares(self) -> Callable[[str], Numbers]:
        """Categorical column -> (c,) share of everybody's events with items of each category.

        Of the items themselves where there is no event.
        """
        weights = self.n_events if self.n_events.any() else np.ones(len(self))

        def of(name: str) -> Numbers:
            chosen = weights @ self.columns.categories(name).membership
            shares: Numbers = chosen / max(weights.sum(), 1)
            return shares

        return lru_cache(maxsize=None)(of)

    @cached_property
    def item_ids(self) -> list[str]:
        """The n item ids, by row."""
        found: list[str] = self.items.ids.to_pylist()
        return found

    def title(self, item_id: str) -> str | None:
        """The newest title, None where there is none."""
        row = self.items.code(item_id)
        return None if row is None else self.titles[row]

    def vector(self, item_id: str) -> Vectors | None:
        """(d,) the newest vector, None where there is none."""
        row = self.items.code(item_id)
        return None if row is None or not self.index.present[row] else self.index.vectors[row]


@dataclass(frozen=True)
class Collaborator:
    """One of some users, as other people's answers tell of the user; `by_id` as of `Catalogue`."""

    users: CollaborativeUsers
    place: int
    by_id: Rows

    def numbers(self, rows: Rows) -> dict[str, Numbers]:
        """(m,) by column, of m catalogue rows, -1 for an item that the catalogue does not have."""
        codes = np.where(rows >= 0, self.by_id[rows], -1) if len(self.by_id) else rows
        return self.users.numbers(self.place, codes)


def load_catalogue(
    workspace: Workspace, store: FeatureStore, service: str, model: NextItemModel, at: datetime
) -> Catalogue:
    """The catalogue as history has it at an instant, which is now for a service.

    Raises
    ------
    FeatureNotFoundError
        Nothing was prepared.
    """
    first = _first_versions(workspace, at)
    ids = IdMap(first["item_id"].to_arrow().cast(pa.string()))
    rows = _item_rows(workspace, store, service, ids, at)
    n_positive, n_events = (_counts(rows, name) for name in ("item_n_positive", "item_n_events"))
    order = np.lexsort((np.arange(len(ids)), -n_events, -n_positive))
    items, rows = IdMap(ids.take(order)), rows.take(order)
    n_positive, n_events = n_positive[order], n_events[order]
    newest_first = np.argsort(
        -first["first_version"].to_physical().to_numpy()[order], kind="stable"
    )
    neighbours = Versions(workspace.source(names.ITEM_NEIGHBOURS), items, ItemVersion)
    factors = Versions(workspace.source(names.ITEM_FACTORS), ids, FactorVersion)
    version, back = neighbours.newest(to_micros(at)), np.argsort(order)
    columns = ItemColumns.of(rows, workspace.dataset)
    titles = rows.table[feature_column(names.ITEM_PROFILE, workspace.dataset.items.title)]
    return Catalogue(
        items=items,
        titles=titles.cast(pa.string()).to_pylist(),
        popularity=((n_positive + 0.5) / (n_positive.max(initial=0) + 1.0)).astype(np.float32),
        n_events=n_events,
        fresh=newest_first[n_events[newest_first] == 0],
        index=_index(rows),
        wording=Wording.of(rows, workspace.dataset, columns),
        columns=columns,
        availability=load_availability(
            workspace.source(names.ITEMS), workspace.dataset.items, items, at
        ),
        seen=load_seen_items(workspace.source(names.INTERACTIONS), items),
        scorer=model.on(items, rows, version),
        collaboration=Collaboration(
            ids, factors.newest(to_micros(at)), version.together[back][:, back]
        ),
        by_id=order,
        interactions=workspace.dataset.interactions,
    )


def item_sink(workspace: Workspace, encoder_id: str | None) -> str | None:
    """Where the item vectors' history lies, None without an encoder."""
    if encoder_id is None:
        return None
    return workspace.sink(vector_view(names.ITEM_EMBEDDING, encoder_id))


def catalogue_changes(workspace: Workspace, encoder_id: str | None) -> Ints:
    """Ascending instants (us) at which a catalogue changes: items, vectors, versions."""
    sink = item_sink(workspace, encoder_id)
    sources = [workspace.source(name) for name in (names.ITEMS, names.ITEM_NEIGHBOURS)]
    written = [*map(str, sources), *([sink] if sink and read_version(sink) else [])]
    found = [open_path(path, path).read(["event_timestamp"])["event_timestamp"] for path in written]
    micros = [pc.unique(each.cast(TIMESTAMP).cast(pa.int64())).to_numpy() for each in found]
    return np.unique(np.concatenate(micros))


def _first_versions(workspace: Workspace, at: datetime) -> pl.DataFrame:
    """item_id and first_version of the items known at an instant and not withdrawn, by id."""
    path = workspace.source(names.ITEMS)
    if not path.is_file():
        raise FeatureNotFoundError(
            f"{path}: got no such file, expected the prepared items. Run feast-fusion prepare."
        )
    versions = read_parquet(path, ["item_id", "event_timestamp"])
    gone = withdrawn_items(versions, workspace.read_withdrawn(), to_micros(at))
    return (
        pl.DataFrame(versions)
        .filter(~pl.col("item_id").is_in(gone))
        .group_by("item_id")
        .agg(first_version=pl.col("event_timestamp").min())
        .filter(pl.col("first_version") <= at)
        .sort("item_id")
    )


def _item_rows(
    workspace: Workspace, store: FeatureStore, service: str, items: IdMap, at: datetime
) -> TrainingSet:
    """One row per item with its features at an instant; without vectors before any is encoded."""
    times = pa.repeat(pa.scalar(at, TIMESTAMP), len(items))
    spine = pa.table({"item_id": items.ids, "event_timestamp": times})
    encoder_id = encoder_of(open_service(store, service))
    without = []
    if encoder_id is not None:
        view = vector_view(names.ITEM_EMBEDDING, encoder_id)
        without = [] if read_version(workspace.sink(view)) else [view]
    return build_rows_of(store, service, spine, without=without)


def _counts(rows: TrainingSet, name: str) -> Rows:
    column = rows.table[feature_column(names.ITEM_STATS, name)]
    counts: Rows = column.fill_null(0).to_numpy()
    return counts


def _index(rows: TrainingSet) -> VectorIndex:
    found = vectors_of(rows, names.ITEM_EMBEDDING)
    if found is None:
        return VectorIndex.of(np.zeros((len(rows), 1), np.float32), np.zeros(len(rows), dtype=bool))
    matrix = np.pad(np.asarray(found.values), ((0, 1), (0, 0)))
    return VectorIndex.of(matrix[found.index], found.present)
