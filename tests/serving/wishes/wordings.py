"""A few films as the words of a query are compared with them."""

import numpy as np
import pyarrow as pa

from feast_fusion.training_set import Indexed, TrainingSet
from intake.dataset import Dataset, Interactions
from intake.versioned_tables import Items
from serving.filters.item_columns import ItemColumns
from serving.wishes.wording import Wording

FILMS = [
    ("The Horror of Stone", 1980, ["Horror"], "Alfred Hitchcock", ["James Stewart"]),
    ("Robots", 1995, None, "Ethan Coen, Joel Coen", ["Robert De Niro", "Faizon Love"]),
    ("Love Story", None, ["Drama", "Film-Noir"], None, None),
    ("Night", 1964, ["Drama"], "Oliver Stone", ["Alfred Hitchcock", "José Ferrer"]),
    ("Day", 1950, ["Children's"], "Robert De Niro", ["Sharon Stone"]),
]


def wording() -> Wording:
    names = ("title", "year", "genres", "director", "cast")
    columns = dict(zip(names, map(list, zip(*FILMS, strict=True)), strict=True))
    return wording_of(pa.table(columns), described())


def wording_of(items: pa.Table, dataset: Dataset) -> Wording:
    """Of a table of items, a row each."""
    scalars, lists = {}, {}
    for name, column in zip(items.column_names, items.columns, strict=True):
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            lists[f"item_profile__{name}"] = listed(column.to_pylist())
        else:
            scalars[f"item_profile__{name}"] = column
    rows = TrainingSet(pa.table(scalars), {}, lists)
    return Wording.of(rows, dataset, ItemColumns.of(rows, dataset))


def described() -> Dataset:
    items = Items(
        path="items.parquet",
        title="title",
        text="{title}. {genres}. Directed by {director}. Starring {cast}.",
        numeric=("year",),
        categorical=("genres",),
    )
    events = Interactions(path="events.parquet")
    return Dataset(name="films", items=items, interactions=events, path="dataset.toml")


def listed(values: list[list[str] | None]) -> Indexed:
    known = [each for each in values if each is not None]
    places = np.cumsum([each is not None for each in values]) - 1
    at = np.where([each is not None for each in values], places, -1).astype(np.int32)
    return Indexed(pa.array(known, pa.list_(pa.string())), at)
