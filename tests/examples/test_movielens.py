"""MovieLens as three files: the default source, each official layout, and the film table."""

import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import polars as pl
import pytest

from examples import wheels
from feast_fusion.times import TIMESTAMP
from intake.dataset_file import load_dataset
from intake.validation import validate_dataset
from intake.workspace import Workspace
from serving.wishes.reading import read_clause
from tests.serving.wishes.wordings import wording_of
from transformations.prepared_sources import write_sources

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "movielens"
# git-ignored, and what `make demo` uses too: the wheels are downloaded once per checkout
CACHE = ROOT / ".fusion" / "downloads"

Members = dict[str, bytes]


sys.path.insert(0, str(EXAMPLE))  # as when prepare.py is run
archives, film_table, prepare, titles = map(
    import_module, ("archives", "film_table", "prepare", "titles")
)
sys.path.remove(str(EXAMPLE))


@pytest.fixture(scope="module")
def ml_100k(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("movielens")
    (folder / "dataset.toml").write_bytes((EXAMPLE / "dataset.toml").read_bytes())
    prepare.prepare_movielens(folder / "data", cache=CACHE)
    return folder


def read(folder: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(folder / f"{name}.parquet")


def test_ml_100k_is_whole_and_clean(ml_100k: Path, tmp_path: Path) -> None:
    data = validate_dataset(load_dataset(ml_100k / "dataset.toml"), tmp_path)
    assert data.report.read == {"items": 1682, "users": 943, "interactions": 100_000}
    assert data.report.rejects == {"items": {}, "users": {}, "interactions": {}}
    assert data.report.users_without_profile == 0
    assert sum(data.interactions["positive"].to_pylist()) == 55_375
    assert data.items.schema.field("event_timestamp").type == TIMESTAMP


def test_ml_100k_titles_years_and_genres(ml_100k: Path) -> None:
    items = {row["item_id"]: row for row in read(ml_100k / "data", "items").iter_rows(named=True)}
    shawshank = items["64"]
    assert (shawshank["title"], shawshank["year"]) == ("The Shawshank Redemption", 1994)
    assert shawshank["director"] == "Frank Darabont"
    assert "Morgan Freeman" in shawshank["cast"]
    assert items["1"]["genres"] == ["Animation", "Children's", "Comedy"]
    assert items["543"]["title"] == "Les Misérables"
    assert items["1412"]["year"] == 1995  # a video: V stands where its year should
    assert (items["267"]["year"], items["267"]["genres"]) == (None, None)
    assert sum(row["director"] is not None for row in items.values()) == 1383


def test_no_item_or_user_is_newer_than_an_event(ml_100k: Path) -> None:
    first = read(ml_100k / "data", "interactions")["event_timestamp"].min()
    items = read(ml_100k / "data", "items")
    assert items["event_timestamp"].max() == first
    assert items.filter(pl.col("year").is_null())["event_timestamp"].to_list() == [first]
    early = items.filter(pl.col("year") == 1995)["event_timestamp"].unique().to_list()
    assert early == [datetime(1995, 1, 1, tzinfo=UTC)]
    assert read(ml_100k / "data", "users")["event_timestamp"].unique().to_list() == [first]


def test_the_same_files_every_time(ml_100k: Path, tmp_path: Path) -> None:
    prepare.prepare_movielens(tmp_path, cache=CACHE)
    for path in tmp_path.glob("*"):
        assert path.read_bytes() == (ml_100k / "data" / path.name).read_bytes()


def test_ml_100k_is_prepared_into_sources(ml_100k: Path, tmp_path: Path) -> None:
    workspace = Workspace(load_dataset(ml_100k / "dataset.toml"), tmp_path)
    report = write_sources(workspace)
    assert report.rows["interactions"] == 100_000
    recent = read(workspace.sources, "user_recent")
    assert recent["item_ids"].list.len().max() == 200


def ml_1m() -> Members:
    users = "1::F::1::10::48067\n2::M::56::16::70072\n"
    movies = (
        "1::Toy Story (1995)::Animation|Children's|Comedy\n"
        "2::Fan, The (1996)::Thriller\n"
        "3::Misérables, Les (1995)::Drama|Musical\n"
    )
    ratings = "1::1::5::978300760\n1::3::3::978302109\n2::2::4::978298413\n"
    return {
        "ml-1m/users.dat": users.encode("latin-1"),
        "ml-1m/movies.dat": movies.encode("latin-1"),
        "ml-1m/ratings.dat": ratings.encode("latin-1"),
    }


def ml_latest() -> Members:
    movies = (
        "movieId,title,genres\n"
        "1,Toy Story (1995),Adventure|Animation\n"
        '2,"Misérables, Les (1995)",Drama|War\n'
        "3,Babylon 5,(no genres listed)\n"
        '4,"""Great Performances"" Cats (1998)",Musical\n'
    )
    ratings = "userId,movieId,rating,timestamp\n1,1,4.0,964982703\n1,3,0.5,964981247\n"
    return {
        "ml-latest-small/movies.csv": movies.encode(),
        "ml-latest-small/ratings.csv": ratings.encode(),
        "ml-latest-small/links.csv": b"movieId,imdbId,tmdbId\n1,0114709,862\n",
        "ml-latest-small/tags.csv": b"userId,movieId,tag,timestamp\n",
    }


def ml_100k_zip() -> Members:
    flags = {"1": "0|0|0|1|1|1", "2": "1|0|0|0|0|0"}
    items = (
        f"1|Toy Story (1995)|01-Jan-1995||http://x|{flags['1']}{'|0' * 13}\n"
        f"2|unknown||||{flags['2']}{'|0' * 13}\n"
        f"3|Misérables, Les (1995)|01-Jan-1995||http://x|{flags['1']}{'|0' * 13}\n"
    )
    return {
        "ml-100k/u.item": items.encode("latin-1"),
        "ml-100k/u.user": b"1|24|M|technician|85711\n2|53|F|other|94043\n",
        "ml-100k/u.data": b"1\t1\t5\t881250949\n2\t3\t3\t891717742\n",
        "ml-100k/u.genre": b"unknown|0\nAction|1\n",
    }


def make_zip(path: Path, members: Members) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def prepare_zip(folder: Path, members: Members) -> Path:
    source = make_zip(folder / "ml.zip", members)
    prepare.prepare_movielens(folder / "data", source, cache=CACHE)
    return folder / "data"


def test_the_layout_of_ml_1m(tmp_path: Path) -> None:
    data = prepare_zip(tmp_path, ml_1m())
    items = read(data, "items")
    assert items["title"].to_list() == ["Toy Story", "The Fan", "Les Misérables"]
    assert items["year"].to_list() == [1995, 1996, 1995]
    assert items["genres"].to_list()[2] == ["Drama", "Musical"]
    assert items["director"].to_list() == ["John Lasseter", "Tony Scott", "Claude Lelouch"]
    users = read(data, "users")
    assert users["occupation"].to_list() == ["student", "self-employed"]
    assert users["age"].to_list() == [1, 56]
    events = read(data, "interactions")
    assert events["user_id"].to_list() == ["2", "1", "1"]
    assert events["event_timestamp"].dt.epoch("s").to_list() == [978298413, 978300760, 978302109]


def test_the_layout_of_ml_latest_and_ml_32m(tmp_path: Path) -> None:
    data = prepare_zip(tmp_path, ml_latest())
    items = read(data, "items")
    titles = ["Toy Story", "Les Misérables", "Babylon 5", '"Great Performances" Cats']
    assert items["title"].to_list() == titles
    assert items["year"].to_list() == [1995, 1995, None, 1998]
    assert items["genres"].to_list()[2] is None
    assert read(data, "interactions")["value"].to_list() == [0.5, 4.0]
    users = read(data, "users")
    assert users["user_id"].to_list() == ["1"]
    assert users.select("age", "gender", "occupation").row(0) == (None, None, None)


def test_the_layout_of_ml_100k_zip(tmp_path: Path) -> None:
    data = prepare_zip(tmp_path, ml_100k_zip())
    items = read(data, "items")
    assert items["title"].to_list() == ["Toy Story", "unknown", "Les Misérables"]
    assert items["genres"].to_list()[:2] == [["Animation", "Children's", "Comedy"], None]
    assert read(data, "users")["gender"].to_list() == ["M", "F"]
    assert read(data, "interactions")["value"].to_list() == [5.0, 3.0]


@pytest.mark.parametrize("members", [ml_1m, ml_latest, ml_100k_zip])
def test_every_layout_fits_the_dataset_toml(tmp_path: Path, members: Callable[[], Members]) -> None:
    prepare_zip(tmp_path, members())
    (tmp_path / "dataset.toml").write_bytes((EXAMPLE / "dataset.toml").read_bytes())
    report = write_sources(Workspace(load_dataset(tmp_path / "dataset.toml"), tmp_path / "home"))
    assert not any(report.rejects.values())


def test_without_films_nothing_is_fetched(tmp_path: Path) -> None:
    source = make_zip(tmp_path / "ml-1m.zip", ml_1m())
    command = [sys.executable, str(EXAMPLE / "prepare.py"), "--from", str(source), "--no-films"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "data")], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "3 interactions, 3 items, 2 users"
    assert read(tmp_path / "data", "items")["director"].null_count() == 3
    assert not (tmp_path / ".fusion").exists()


def test_a_wrong_archive_is_named(tmp_path: Path) -> None:
    other = make_zip(tmp_path / "other.zip", {"readme.txt": b""})
    with pytest.raises(ValueError, match=r"other.zip: got files \['readme.txt'\], expected one of"):
        prepare.prepare_movielens(tmp_path / "data", other, with_films=False)
    (tmp_path / "text.zip").write_text("no")
    with pytest.raises(ValueError, match=r"text.zip: got no zip archive"):
        prepare.prepare_movielens(tmp_path / "data", tmp_path / "text.zip", with_films=False)
    half = make_zip(tmp_path / "half.zip", {"ml-1m/movies.dat": b"1::A (1990)::Drama\n"})
    with pytest.raises(ValueError, match=r"expected also users.dat"):
        prepare.prepare_movielens(tmp_path / "data", half, with_films=False)


def test_a_wheel_with_other_content_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "recbole-1.2.1-py3-none-any.whl"
    make_zip(wheel, {f"recbole/ml-100k.{kind}": b"x" for kind in ("inter", "item", "user")})
    with pytest.raises(RuntimeError, match=r"got ml-100k.item with sha256 .* expected 51d7cdf7"):
        archives.read_recbole(tmp_path)
    wheel.write_bytes(b"cut")
    with pytest.raises(RuntimeError, match="got no whole wheel"):
        archives.read_recbole(tmp_path)


def test_a_download_that_fails_names_the_requirement_and_no_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(RuntimeError, match=r"recbole==1.2.1: got exit code 1 and no wheel") as e:
        wheels.fetch_wheel(wheels.RECBOLE, tmp_path)
    assert "://" not in str(e.value)


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("Shawshank Redemption, The", "The Shawshank Redemption"),
        ("Lion, the Witch and the Wardrobe, The", "The Lion, the Witch and the Wardrobe"),
        ("Postino, Il (Postman, The)", "Il Postino (The Postman)"),
        ("Avventura, L'", "L'Avventura"),
        ("Goodbye, Lover", "Goodbye, Lover"),
        ("Theodore, Thea", "Theodore, Thea"),
        ("M", "M"),
    ],
)
def test_articles_come_first(written: str, spoken: str) -> None:
    assert titles.natural_title(written) == spoken


def film(title: str, year: int, director: str) -> object:
    return film_table.Film(title, year, director, None, None, None)


@pytest.mark.parametrize(
    ("title", "year", "director"),
    [
        ("Les Miserables", 1995, "Lelouch"),  # without the accent
        ("LES MISÉRABLES", 1998, "August"),
        ("Les Misérables", 1996, None),  # two films of that title: a year beside is a guess
        ("Cats & Dogs", 2001, "Guterman"),
        ("Cats and Dogs", 2002, "Guterman"),  # the only one, a year beside
        ("Cats and Dogs", 2003, None),
        ("Contempt (Le Mépris)", 1963, "Godard"),
        ("Rage", 2009, None),  # two films of that title and year
        ("Cats & Dogs", None, None),
        ("Unheard Of", 1990, None),
    ],
)
def test_films_are_joined_by_title_and_year(
    title: str, year: int | None, director: str | None
) -> None:
    known = [
        film("Les Misérables", 1995, "Lelouch"),
        film("Les Misérables", 1998, "August"),
        film("Cats & Dogs", 2001, "Guterman"),
        film("Contempt", 1963, "Godard"),
        film("Rage", 2009, "Potter"),
        film("Rage", 2009, "Cordero"),
    ]
    films = pl.DataFrame({"title": [title], "year": pl.Series([year], dtype=pl.Int64)})
    assert film_table.join_films(films, known)["director"].to_list() == [director]


def test_a_query_names_genres_people_and_years(ml_100k: Path) -> None:
    items = read(ml_100k / "data", "items")
    films = wording_of(items.to_arrow(), load_dataset(ml_100k / "dataset.toml"))
    for text, fits in {
        "horror": pl.col("genres").list.contains("Horror"),
        "a film for children": pl.col("genres").list.contains("Children's"),
        "scifi": pl.col("genres").list.contains("Sci-Fi"),
        "films by Hitchcock": pl.col("director") == "Alfred Hitchcock",
        "starring De Niro": pl.col("cast").list.contains("Robert De Niro"),
        "by the Coen brothers": pl.col("director").str.contains("Coen"),
        "from the 1940s": pl.col("year").is_between(1940, 1949),
    }.items():
        (mention,) = read_clause(text, films).mentions
        assert mention.rows.tolist() == items.with_row_index().filter(fits)["index"].to_list(), text
