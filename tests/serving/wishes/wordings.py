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
    titles, years, genres, directors, casts = zip(*FILMS, strict=True)
    table = {
        "item_profile__title": pa.array(titles),
        "item_profile__year": pa.array(years, pa.int64()),
        "item_profile__director": pa.array(directors),
    }
    lists = {"item_profile__genres": listed(genres), "item_profile__cast": listed(casts)}
    rows = TrainingSet(pa.table(table), {}, lists)
    dataset = described()
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


def listed(values: tuple[list[str] | None, ...]) -> Indexed:
    known = [each for each in values if each is not None]
    places = np.cumsum([each is not None for each in values]) - 1
    at = np.where([each is not None for each in values], places, -1).astype(np.int32)
    return Indexed(pa.array(known, pa.list_(pa.string())), at)
