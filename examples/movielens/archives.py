"""MovieLens as raw tables: from an official archive, or ml-100k from the wheel of recbole."""

import io
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import polars as pl
from titles import natural_title

from examples.wheels import RECBOLE, fetch_wheel, read_member

# What u.item's 19 flags, ml-1m's occupation codes and a missing genre mean.
_GENRES = (
    "unknown Action Adventure Animation Children's Comedy Crime Documentary Drama Fantasy "
    "Film-Noir Horror Musical Mystery Romance Sci-Fi Thriller War Western"
)
_OCCUPATIONS = (
    "other,educator,artist,clerical,student,customer service,doctor,executive,farmer,homemaker,"
    "student,lawyer,programmer,retired,salesman,scientist,self-employed,technician,tradesman,"
    "unemployed,writer"
)
GENRES, OCCUPATIONS = _GENRES.split(), _OCCUPATIONS.split(",")
NO_GENRES = ["unknown", "(no genres listed)", ""]


@dataclass(frozen=True)
class MovieLens:
    """Raw tables: films (item_id, title, year, genres), ratings (user_id, item_id, value, time in
    seconds since the epoch), users (user_id, age, gender, occupation) or None.
    """

    films: pl.DataFrame
    ratings: pl.DataFrame
    users: pl.DataFrame | None


def read_archive(path: Path) -> MovieLens:
    """The tables of an official archive."""
    readers = {"movies.csv": _read_csv, "movies.dat": _read_1m, "u.item": _read_100k}
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: got no zip archive, expected such as ml-1m.zip. Download one.")
    with zipfile.ZipFile(path) as archive:
        members = {PurePosixPath(name).name: name for name in archive.namelist()}
        for mark, read in readers.items():
            if mark in members:
                with tempfile.TemporaryDirectory() as folder:
                    return read(_Archive(archive, members, Path(folder)))
    raise ValueError(
        f"{path}: got files {sorted(members)}, expected one of {list(readers)}. "
        "Give an official MovieLens archive, as it was downloaded."
    )


@dataclass(frozen=True)
class _Archive:
    archive: zipfile.ZipFile
    members: dict[str, str]
    folder: Path

    def extract(self, name: str) -> Path:
        """The member as a file: the largest one has 900 MB."""
        if name not in self.members:
            raise ValueError(
                f"{self.archive.filename}: got {sorted(self.members)}, expected also {name}. "
                "Download the archive again."
            )
        target = self.folder / name
        with self.archive.open(self.members[name]) as member, target.open("wb") as file:
            shutil.copyfileobj(member, file)
        return target

    def table(self, name: str, separator: str, columns: list[str]) -> pl.DataFrame:
        """A member in latin-1 without header or quotes; all columns are strings."""
        text = self.extract(name).read_bytes().decode("latin-1").replace(separator, "\t")
        return _tabular(text, columns)


def _tabular(text: str, columns: list[str]) -> pl.DataFrame:
    schema = dict.fromkeys(columns, pl.String)
    return pl.read_csv(
        io.BytesIO(text.encode()), separator="\t", has_header=False, quote_char=None, schema=schema
    )


def _read_csv(archive: _Archive) -> MovieLens:
    films = pl.read_csv(archive.extract("movies.csv"), infer_schema=False)
    ratings = pl.read_csv(
        archive.extract("ratings.csv"),
        columns=["userId", "movieId", "rating", "timestamp"],
        schema_overrides={"rating": pl.Float64, "timestamp": pl.Int64},
    )
    genres = pl.col("genres").str.split("|")
    films = films.select(pl.col("movieId").alias("item_id"), "title", genres)
    renamed = dict(zip(ratings.columns, RATING_COLUMNS, strict=True))
    return MovieLens(_with_year(films), _ratings(ratings.rename(renamed)), None)


def _read_1m(archive: _Archive) -> MovieLens:
    films = archive.table("movies.dat", "::", ["item_id", "title", "genres"])
    users = archive.table("users.dat", "::", ["user_id", "gender", "age", "occupation", "zip"])
    codes = {str(code): name for code, name in enumerate(OCCUPATIONS)}
    return MovieLens(
        _with_year(films.with_columns(pl.col("genres").str.split("|"))),
        _ratings(archive.table("ratings.dat", "::", RATING_COLUMNS)),
        _users(users.with_columns(pl.col("occupation").replace_strict(codes, default=None))),
    )


def _read_100k(archive: _Archive) -> MovieLens:
    flags = [f"is_{genre}" for genre in GENRES]
    films = archive.table("u.item", "|", ["item_id", "title", "date", "video", "url", *flags])
    marked = [
        pl.when(pl.col(flag) == "1").then(pl.lit(genre))
        for flag, genre in zip(flags, GENRES, strict=True)
    ]
    films = films.select("item_id", "title", genres=pl.concat_list(marked).list.drop_nulls())
    users = archive.table("u.user", "|", ["user_id", "age", "gender", "occupation", "zip"])
    ratings = archive.table("u.data", "\t", RATING_COLUMNS)
    return MovieLens(_with_year(films), _ratings(ratings), _users(users))


RATING_COLUMNS = ["user_id", "item_id", "value", "time"]


def _ratings(table: pl.DataFrame) -> pl.DataFrame:
    return table.select(
        pl.col("user_id", "item_id").cast(pl.String),
        pl.col("value").cast(pl.Float64),
        pl.col("time").cast(pl.Float64).cast(pl.Int64),
    )


def _users(table: pl.DataFrame) -> pl.DataFrame:
    return table.select("user_id", pl.col("age").cast(pl.Int64), "gender", "occupation")


def _with_year(films: pl.DataFrame) -> pl.DataFrame:
    """Titles as one says them, their year apart: "Fan, The (1996)" is The Fan of 1996."""
    found = (
        pl.col("title")
        .str.strip_chars()
        .str.extract_groups(
            r"^(?<name>.*?)\s*(?:\((?<year>\d{4})(?:[-–]\d{0,4})?\))?\s*(?:\((?:V|TV)\))?$"  # noqa: RUF001
        )
    )
    parts = films.with_columns(found.alias("found")).unnest("found")
    has_name = pl.col("name").fill_null("") != ""
    genres = pl.col("genres").list.filter(~pl.element().is_in(NO_GENRES))
    return parts.select(
        "item_id",
        pl.when(has_name)
        .then("name")
        .otherwise("title")
        .alias("title")
        .map_elements(natural_title, return_dtype=pl.String),
        pl.col("year").cast(pl.Int64),
        pl.when(genres.list.len() > 0).then(genres).alias("genres"),
    )


def read_recbole(cache: Path) -> MovieLens:
    """ml-100k as recbole packs it: 100,000 ratings of 1,682 films by 943 users."""
    wheel = fetch_wheel(RECBOLE, cache)
    rows = {
        kind: read_member(wheel, f"ml-100k.{kind}").decode().split("\n", 1)[1]  # without the header
        for kind in ("item", "user", "inter")
    }
    films = _tabular(rows["item"], ["item_id", "title", "year", "genres"])
    # one video release has V for its year, and its real year in the title
    year = pl.when(pl.col("year").str.contains(r"^\d{4}$")).then(pl.col("year"))
    title = pl.when(year.is_null()).then("title").otherwise(pl.format("{} ({})", "title", year))
    films = films.select("item_id", title, pl.col("genres").str.split(" "))
    users = _tabular(rows["user"], ["user_id", "age", "gender", "occupation", "zip"])
    ratings = _tabular(rows["inter"], RATING_COLUMNS)
    return MovieLens(_with_year(films), _ratings(ratings), _users(users))
