import math
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from feast_fusion.encoding.encoder import load_encoder
from feast_fusion.encoding.transformer_encoder import TransformerEncoder
from feast_fusion.errors import SchemaError
from intake.dataset import Cleaning
from tests.feast_fusion.encoding.conftest import SaveDecoder
from transformations.cleaning import clean
from transformations.text import render_behaviours, render_items

FILM = "{title} ({year}). Genres: {genres}. Directed by {director}. Starring {cast}."
WHOLE = {
    "title": "Heat",
    "year": 1995,
    "genres": ["Crime", "Drama"],
    "director": "Michael Mann",
    "cast": "Al Pacino",
}


def render_item(template: str, row: Mapping[str, object]) -> str:
    (text,) = render_items(template, pa.table({name: [value] for name, value in row.items()}))
    return text


def test_a_whole_row_fills_the_template() -> None:
    assert (
        render_item(FILM, WHOLE)
        == "Heat (1995). Genres: Crime, Drama. Directed by Michael Mann. Starring Al Pacino."
    )


@pytest.mark.parametrize("null", [None, math.nan, np.float32("nan"), "", " ", []])
@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("title", "Genres: Crime, Drama. Directed by Michael Mann. Starring Al Pacino."),
        ("year", "Heat. Genres: Crime, Drama. Directed by Michael Mann. Starring Al Pacino."),
        ("genres", "Heat (1995). Directed by Michael Mann. Starring Al Pacino."),
        ("cast", "Heat (1995). Genres: Crime, Drama. Directed by Michael Mann."),
    ],
)
def test_a_clause_with_a_null_is_left_out(column: str, expected: str, null: object) -> None:
    assert render_item(FILM, WHOLE | {column: null}) == expected


def test_a_row_of_nulls_is_the_empty_text() -> None:
    assert render_item(FILM, dict.fromkeys(WHOLE)) == ""


@pytest.mark.parametrize(
    ("template", "row", "expected"),
    [
        ("《{a}》({b})。类型:{c}。导演{d}。", {"a": "活着", "c": "剧情"}, "《活着》。类型:剧情。"),
        ("{a}（{b}）。{c}！", {"a": "活着", "c": "好"}, "活着。好！"),  # noqa: RUF001
        ("Is it {a}? It is {b}! By {c}; of {d}", {"b": "x", "d": "y"}, "It is x! of y"),
        ("v1.5 of {a}. ({b}) {c}.", {"a": "x", "c": "y"}, "v1.5 of x. y."),
        ("{a} (classic). {b}", {"a": "x"}, "x (classic)."),
        ("no columns.", {}, "no columns."),
        ("{a}", {}, ""),
        (
            "{No. of pages (all)} of {brand-name}, {b.c}.",
            {"No. of pages (all)": 9, "brand-name": "x", "b.c": "y"},
            "9 of x, y.",
        ),
        ("", {}, ""),
    ],
)
def test_clauses_in_any_script(template: str, row: dict[str, object], expected: str) -> None:
    assert render_item(template, dict.fromkeys("abcd") | row) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1995.0, "1995"),
        (np.float64(3.5), "3.5"),
        (np.int64(7), "7"),
        (0, "0"),
        (False, "False"),
        (math.inf, "inf"),
        (["a", None, "", "b"], "a, b"),
        (np.array(["a", "b"]), "a, b"),
        ("{year}. ({b}); a.b", "{year}. ({b}); a.b"),
    ],
)
def test_values_print_as_people_write_them(value: object, expected: str) -> None:
    assert render_item("<{x}>", {"x": value}) == f"<{expected}>"


def test_an_unknown_column_is_named() -> None:
    with pytest.raises(SchemaError, match="expected also year, cast"):
        render_items("{title} {year} {cast}", pa.table({"title": ["x"]}))


value = st.one_of(
    st.none(), st.text(max_size=8), st.sampled_from(["{b}", "a. b", "(x)", "{", "}", ""])
)


@given(rows=st.lists(st.fixed_dictionaries({"a": value, "b": value}), max_size=5))
def test_a_table_renders_as_its_rows(rows: list[dict[str, str | None]]) -> None:
    template = "{a} ({b}). By {b}; {a}。"
    table = pa.table(
        {name: pa.array([row[name] for row in rows], pa.string()) for name in ("a", "b")}
    )
    alone = [render_items(template, table.slice(at, 1))[0] for at in range(len(rows))]
    assert render_items(template, table) == alone


# Behaviour


def count_words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def render_behaviour(liked: Sequence[str], disliked: Sequence[str], max_tokens: int) -> str:
    (text,) = render_behaviours(
        [liked], [disliked], max_tokens=max_tokens, count_tokens=count_words
    )
    return text


def test_behaviour_reads_most_recent_first() -> None:
    text = render_behaviour(["Heat", "Alien"], ["Jaws"], max_tokens=64)
    assert text == "liked Heat; Alien. disliked Jaws."


@pytest.mark.parametrize(
    ("liked", "disliked", "expected"),
    [
        (["Heat"], [], "liked Heat."),
        ([], ["Jaws"], "disliked Jaws."),
        ([], [], ""),
        (["", " "], [""], ""),
    ],
)
def test_behaviour_of_one_kind_or_none(
    liked: list[str], disliked: list[str], expected: str
) -> None:
    assert render_behaviour(liked, disliked, max_tokens=64) == expected


def test_liked_titles_have_three_quarters_when_both_are_many() -> None:
    titles = [f"film{n}" for n in range(100)]
    text = render_behaviour(titles, titles, max_tokens=44)
    liked, disliked = text.split(" disliked ")
    assert (len(liked.split()) - 1, len(disliked.split())) == (30, 10)


@pytest.mark.parametrize(("n_liked", "n_disliked"), [(2, 100), (100, 2), (100, 0), (0, 100)])
def test_a_kind_takes_what_the_other_leaves(n_liked: int, n_disliked: int) -> None:
    titles = [f"film{n}" for n in range(100)]
    text = render_behaviour(titles[:n_liked], titles[:n_disliked], max_tokens=44)
    assert count_words([text]) == [42]


def test_only_a_title_that_does_not_fit_alone_is_cut() -> None:
    long = "word " * 50
    assert render_behaviour(["Heat", long], [], max_tokens=12) == "liked Heat."
    cut = render_behaviour([long], ["x"], max_tokens=12)
    assert cut.startswith("liked word word") or cut == "disliked x."
    alone = render_behaviour([long], [], max_tokens=12)
    assert alone.startswith("liked word word") and count_words([alone])[0] <= 10


title = st.one_of(
    st.text(max_size=30), st.sampled_from(["Heat", "What?", "a;b", "星际穿越", "..."])
)
titles_of_rows = st.lists(st.lists(title, max_size=8), min_size=1, max_size=4)


@settings(max_examples=60)
@given(liked=titles_of_rows, disliked=titles_of_rows, max_tokens=st.integers(4, 40))
def test_the_budget_holds_for_two_kinds_of_tokenizer(
    minilm: TransformerEncoder,
    byte_decoder: TransformerEncoder,
    liked: list[list[str]],
    disliked: list[list[str]],
    max_tokens: int,
) -> None:
    rows = list(zip(liked, disliked, strict=False))
    for encoder in (minilm, byte_decoder):
        texts = render_behaviours(
            [row[0] for row in rows],
            [row[1] for row in rows],
            max_tokens=max_tokens,
            count_tokens=encoder.count_tokens,
            n_special_tokens=encoder.n_special_tokens,
        )
        assert len(texts) == len(rows)
        assert all(
            count + encoder.n_special_tokens <= max_tokens for count in encoder.count_tokens(texts)
        )


@pytest.fixture(scope="module")
def byte_decoder(save_decoder: SaveDecoder) -> TransformerEncoder:
    return load_encoder(save_decoder(), max_tokens=48, pooling="last", device="cpu")


@given(rows=st.lists(st.tuples(st.lists(title), st.lists(title)), max_size=4))
def test_rows_render_as_alone(rows: list[tuple[list[str], list[str]]]) -> None:
    together = render_behaviours(
        [row[0] for row in rows],
        [row[1] for row in rows],
        max_tokens=16,
        count_tokens=count_words,
    )
    assert together == [render_behaviour(*row, max_tokens=16) for row in rows]


def test_distinct_titles_are_counted_once() -> None:
    asked: list[str] = []

    def count(texts: Sequence[str]) -> list[int]:
        asked.extend(texts)
        return count_words(texts)

    rows = [["Heat", "Alien", "Jaws"]] * 50
    render_behaviours(rows, rows, max_tokens=64, count_tokens=count)
    assert sum(text == " Heat;" for text in asked) == 1


# Cleaning


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ｈｅａｔ ﬁlm ①", "Heat film 1"),  # noqa: RUF001
        ("<p>Love &amp; <b>War</b></p><br/>", "Love & War"),
        ("&lt;b&gt;bold&lt;/b&gt; &amp;lt;i&amp;gt;", "bold"),
        ("5 &lt; 6, I <3 film, a > b", "5 < 6, I <3 film, a > b"),
        ("?a=1&copy=2 R&D AT&T", "?a=1&copy=2 R&D AT&T"),
        ("two\r\n\tlines\x00\x85 end ", "two lines end"),
        ("zero\u200bwidth \ufeffbom soft\u00adhyphen", "zerowidth bom softhyphen"),
        ("👩\u200d👩\u200d👧 zero\u200cjoiner", "👩\u200d👩\u200d👧 zero\u200cjoiner"),
        ("e\u200b\u0301", "é"),
        ("lone \ud800 surrogate", "lone surrogate"),
        ("星际穿越\u3000(2014)", "星际穿越 (2014)"),
        ("", ""),
    ],
)
def test_what_is_always_cleaned(text: str, expected: str) -> None:
    assert clean(text, Cleaning()) == expected


@pytest.mark.parametrize(
    ("cleaning", "expected"),
    [
        (Cleaning(punctuation=True), "The 39 Steps 三 部曲 sci fi 10"),
        (Cleaning(digits=True), "The Steps 三,部曲: sci-fi $"),
        (Cleaning(stop_words=("the", "三")), "39 Steps 三,部曲: sci-fi $10"),
    ],
)
def test_what_is_cleaned_on_request(cleaning: Cleaning, expected: str) -> None:
    assert clean("The 39 Steps 三,部曲: sci-fi $10", cleaning) == expected


def test_deeply_nested_markup_ends() -> None:
    hostile = "&" + "amp;" * 10_000 + "lt;b&gt;" + "<" * 5_000 + "b>" * 5_000
    once = clean(hostile, Cleaning())
    assert clean(once, Cleaning()) == once


PIECES = [*"&<>b/1e! \n\u0301\u00ad\u200b\ud800\uff06\ufdfa\u33c2\u01f0"]
PIECES += ["amp;", "lt;", "the", "&#60;", "&#x1;"]

any_text = st.one_of(
    st.text(st.characters(), max_size=40),
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
)
any_cleaning = st.builds(
    Cleaning,
    punctuation=st.booleans(),
    digits=st.booleans(),
    stop_words=st.sampled_from([(), ("the", "B"), ("&",)]),
)


@settings(max_examples=400)
@given(text=any_text, cleaning=any_cleaning)
@example(text="&l1t;b>", cleaning=Cleaning(digits=True))
@example(text="\ufeff", cleaning=Cleaning())
def test_cleaning_is_idempotent_and_never_raises(text: str, cleaning: Cleaning) -> None:
    once = clean(text, cleaning)
    assert clean(once, cleaning) == once
    assert once == " ".join(once.split())
    once.encode("utf-8")
