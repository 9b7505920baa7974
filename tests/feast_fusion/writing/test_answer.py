"""What a model answered is read, repaired where it can be, else rejected with its words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feast_fusion.writing.answer import read_answer
from feast_fusion.writing.attributes import Attributes
from feast_fusion.writing.json_repair import read_json_answer

ASKED = Attributes({"mood": ("light", "Very dark")}, {"themes": 2})
WHOLE = {"mood": "Very dark", "themes": ["war", "love"]}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(WHOLE),
        f"Sure!\n```json\n{json.dumps(WHOLE)}\n```\nI hope it helps.",
        '{"mood": "very dark.", "themes": ["War", "war ", "LOVE", "loss"]}',
        '{"mood": ["Very dark"], "themes": "war, love",}',
        '{"themes": ["war", "love"], "mood": "Very dark"',
        '{"mood": "Very dark", "themes": ["war", "lov\\u0065',
        '{"mood": "Very dark", "themes": ["war", "love", ',
    ],
)
def test_an_answer_is_repaired(text: str) -> None:
    answer = read_answer(text, ASKED)
    assert answer.values == WHOLE and not answer.rejects


@pytest.mark.parametrize(
    ("text", "values", "rejects"),
    [
        ("no idea", {"mood": None, "themes": None}, ("mood: 'no idea'", "themes: 'no idea'")),
        (
            '{"mood": "gloomy", "themes": ["war"]}',
            {"mood": None, "themes": ["war"]},
            ("mood: 'gloomy'",),
        ),
        (
            f'{{"mood": "light", "themes": ["{"a" * 41}", ""]}}',
            {"mood": "light", "themes": None},
            (f"themes: ['{'a' * 41}', '']",),
        ),
        ('["light"]', {"mood": None, "themes": None}, None),
    ],
)
def test_what_is_unfit_is_rejected_alone_and_named(
    text: str, values: dict[str, object], rejects: tuple[str, ...] | None
) -> None:
    answer = read_answer(text, ASKED)
    assert answer.values == values
    if rejects is not None:
        assert answer.rejects == rejects


@pytest.mark.parametrize(
    ("text", "portrait"),
    [
        ('{"portrait": "Likes\\n  war films, and long ones"}', "Likes war films,"),
        ("Likes war.", "Likes war."),
        ('{"portrait": "Likes w', "Likes w"),
        ('{"portrait": ["war"]}', None),
        ('{"portrait": " "}', None),
        (" ", None),
    ],
)
def test_a_text_is_in_one_line_and_may_be_the_bare_answer(text: str, portrait: str | None) -> None:
    asked = Attributes({}, {}, {"portrait": 3})
    assert read_answer(text, asked).values == {"portrait": portrait}
    beside = Attributes({"mood": ("light", "dark")}, {}, {"portrait": 3})
    assert read_answer("Likes war.", beside).values["portrait"] is None, "it says more than that"


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    answer = read_answer(text, ASKED)
    assert answer.values["mood"] in (None, "light", "Very dark")
    assert len(answer.rejects) == sum(value is None for value in answer.values.values())


VALUES = st.recursive(
    st.text() | st.integers() | st.none(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


@given(st.lists(VALUES) | st.dictionaries(st.text(), VALUES), st.text())
def test_what_is_whole_is_read_as_it_is_whatever_follows(value: object, behind: str) -> None:
    assert read_json_answer(json.dumps(value, ensure_ascii=False) + behind) == value


@given(st.lists(st.text(), min_size=1), st.integers(1))
def test_a_list_cut_off_anywhere_gives_its_beginning(value: list[str], place: int) -> None:
    text = json.dumps(value, ensure_ascii=False)
    found = read_json_answer(text[: 1 + place % len(text)])
    # Cut within an escape such as \n, nothing can be said.
    assert found is None or (found[:-1] == value[: len(found) - 1] if found else True)
