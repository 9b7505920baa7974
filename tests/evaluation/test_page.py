"""The page is one file that needs nothing else, and nothing in the data becomes markup."""

import pytest

from evaluation.report.blocks import Section, Table
from evaluation.report.document import Report
from evaluation.report.markdown import render_markdown
from evaluation.report.page import render_page, render_sections
from evaluation.report.sections import build_sections
from tests.evaluation.page_parser import Page
from tests.evaluation.reports import NASTY, make_report


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render_page(make_report(dataset=f"films {NASTY}")))


def test_names_from_the_data_are_text(page: Page) -> None:
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "link", "img", "a", "iframe"})
    assert page.texts.count(NASTY) >= 6  # source, metrics, ablation, curve, label, legends
    assert not [name for _, found in page.elements for name in found if name.startswith("on")]


def test_the_page_refers_to_nothing(page: Page) -> None:
    references = {"src", "href", "xlink:href", "srcset", "data", "action", "background"}
    assert not [(tag, found) for tag, found in page.elements if references & {*found}]
    style = "".join(text for text in page.texts if "font-size" in text)
    assert "url(" not in style
    assert "@import" not in style
    policy = [found.get("content") for tag, found in page.elements if "http-equiv" in found]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_what_a_phone_and_a_reader_need_is_there(page: Page) -> None:
    metas = {
        found.get("name"): found.get("content") for tag, found in page.elements if tag == "meta"
    }
    assert metas["viewport"] == "width=device-width, initial-scale=1"
    assert ("html", {"lang": "en"}) in page.elements
    tables = [tag for tag, _ in page.elements].count("table")
    regions = [found for _, found in page.elements if found.get("role") == "region"]
    assert tables == len(regions) and all(region["aria-label"] for region in regions)
    pictures = [found for tag, found in page.elements if tag == "svg"]
    assert len(pictures) == 5 and all(found["aria-label"] for found in pictures)


def test_the_best_comes_first_and_ours_is_marked(page: Page) -> None:
    marked = [found for tag, found in page.elements if tag == "tr" and found.get("class")]
    assert len(marked) == 5  # ours, the ranker, the recipe, answers that are not varied
    at = page.texts.index("ours, as served")
    assert page.texts[at : at + 2] == ["ours, as served", ".135 (.123 to .147)"]
    assert page.texts.index("EASE") < page.texts.index("iALS") < page.texts.index("popularity")
    assert any("1.38 (1.27 to 1.49) times" in text for text in page.texts)


def test_words_stand_left_and_figures_right(page: Page) -> None:
    cells = [found.get("class") for tag, found in page.elements if tag == "td"]
    assert {None, "text"} == {*cells}
    table = Table(
        "", ("place", "item", "score"), (("1", "Alien", ".314 (.2 to .4)"), ("2", "1984", "-"))
    )
    assert table.texts == {1}


def test_one_table_stands_before_its_text_and_several_after_it() -> None:
    tables = tuple(Table(f"Table {at}", ("a", "b"), (("x", "1"),)) for at in range(2))
    for n, order in ((1, ["1", "Of all."]), (2, ["Of all.", "1", "1"])):
        section = Section("Heading", ("Of all.",), tables[:n])
        page = Page(render_sections(title="", heading="", facts="", sections=[section]))
        assert [text for text in page.texts if text in ("1", "Of all.")] == order


def test_sections_without_data_are_absent() -> None:
    report = make_report()
    titles = [section.title for section in build_sections(report)]
    assert len(titles) == 12
    less = report.model_copy(
        update={
            "pointwise": None,
            "cold_items": None,
            "named": [],
            "text": [],
            "learning": [],
            "trade_offs": [],
            "varied": [],
            "choice_scores": None,
        }
    )
    assert [section.title for section in build_sections(less)] == [*titles[:3], titles[7]]
    bare = report.model_copy(update={name: None for name in Report.model_fields if name == "x"})
    assert bare == report
    empty = Report(dataset="d", version="0", created="now", n_events=0, n_users=0, n_items=0)
    assert build_sections(empty) == []
    Page(render_page(empty))


def test_what_text_is_worth_is_called_significant_only_where_it_is(page: Page) -> None:
    at = page.texts.index("AUC")
    row = ["10,000", ".7945 (.7940 to .7950)", ".7925 (.7920 to .7930)"]
    assert page.texts[at + 1 : at + 6] == [*row, ".0020 (.0005 to .0035)", "yes"]
    second = page.texts.index(".0100 (-.0020 to .0200)")
    assert page.texts[second - 1 : second + 2] == ["-", ".0100 (-.0020 to .0200)", "no"]


def test_the_document_survives_json() -> None:
    report = make_report()
    again = Report.model_validate_json(report.model_dump_json())
    assert again == report
    assert render_page(again) == render_page(report)
    assert report.pointwise is not None
    assert report.pointwise.metrics[NASTY]["auc"] is None  # not a number is no JSON


def test_markdown_has_the_same_tables_and_no_markup_from_data() -> None:
    report = make_report(dataset=f"films {NASTY}")
    lines = render_markdown(report).splitlines()
    sections = build_sections(report)
    assert [line[3:] for line in lines if line.startswith("## ")] == [s.title for s in sections]
    rows = [line for line in lines if line.startswith("| ")]
    expected = sum(1 + len(table.rows) for section in sections for table in section.tables)
    assert len(rows) == expected
    assert all("<" not in line.replace("\\<", "") for line in lines)
    nasty = next(line for line in rows if "evil" in line)
    assert nasty.replace("\\|", "").count("|") == 5  # a name, what is said of it, two figures
    assert "| **ours, as served** | **.135 (.123 to .147)** |" in "\n".join(rows)
