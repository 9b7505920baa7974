"""What a person does on the page, against what the service answers."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Page, expect

from cli.redis_process import RunningRedis
from tests.serving.http.service_process import Service
from tests.waiting import wait_until

Open = Callable[..., Page]


def titles(page: Page, number: int = 0) -> list[str]:
    """Of the ranked list, once nothing is awaited."""
    shown = page.locator("ol.ranked").nth(number)
    expect(shown).to_have_attribute("aria-busy", "false")
    return shown.locator("h3 a").all_inner_texts()


def year_of(title: str) -> int:
    """Of a film of the data set."""
    return 1950 + int(title.removeprefix("Film number "))


def answered(service: Service, user_id: str, **asked: Any) -> list[str]:
    found = service.post("/recommend", {"user_id": user_id, **asked}).json()["items"]
    return [item["title"] for item in found]


def test_a_user_is_found_by_the_beginning_of_the_id(opened: Open, service: Service) -> None:
    page = opened()
    page.get_by_role("combobox", name="User").fill("u1")
    expect(page.get_by_role("option")).to_have_count(11)
    page.get_by_role("option", name="u12").click()
    expect(page.get_by_role("heading", name="For u12")).to_be_visible()
    assert titles(page) == answered(service, "u12")
    history = service.get("/users/u12/history").json()["events"]
    expect(page.locator(".events li a")).to_have_text([event["title"] for event in history])
    assert page.locator(".reasons").count() == 10


def test_a_number_says_what_it_is(opened: Open, service: Service) -> None:
    page = opened("#/for/u12")
    titles(page)
    best = service.post("/recommend", {"user_id": "u12", "explain": True}).json()["items"][0]
    first = page.locator("ol.ranked > li").first
    expect(first.locator(".scores")).to_contain_text(re.compile(r"\d %\s*chosen next"))
    expect(first.locator(".scores")).to_contain_text(
        f"{100 * best['liked']:.0f} % liked, if chosen"
    )
    expect(first.locator(".about")).to_contain_text(", ".join(best["columns"]["genres"]))
    page.goto(f"{page.url}?query=a+western")
    expect(page.get_by_label("Looking for")).to_have_value("a western")
    chances = page.locator(".scores", has_text="chosen next")
    expect(chances).to_have_count(0)  # the query moved the scores
    expect(page.locator(".scores", has_text="liked, if chosen")).to_have_count(10)
    event = service.get("/users/u12/history").json()["events"][0]
    expect(page.locator(".events li").first).to_contain_text(f"rated {event['value']:g}")


def test_what_somebody_new_likes_is_kept_and_moves_the_list(opened: Open, service: Service) -> None:
    page = opened()
    page.get_by_role("button", name="Make one up").click()
    expect(page.get_by_text("Nothing yet")).to_be_visible()
    before = titles(page)
    page.get_by_role("button", name=f"Liked: {before[0]}", exact=True).click()
    expect(page.locator(".events li a")).to_have_text([before[0]])
    expect(page.get_by_role("link", name=before[0], exact=True)).to_have_count(1)  # in the history
    expect(page.get_by_role("status")).to_contain_text(f"Liked, 5: {before[0]}")
    user_id = page.get_by_role("heading", level=1).inner_text().removeprefix("For ")
    (event,) = service.get(f"/users/{user_id}/history").json()["events"]
    assert (event["title"], event["value"], event["positive"]) == (before[0], 5, True)
    assert before[0] not in titles(page) != before


def test_what_each_signal_adds_is_folded_away(opened: Open, service: Service) -> None:
    page = opened("#/for/u12")
    assert titles(page)
    asked = {"user_id": "u12", "debug": True}
    best = service.post("/recommend", asked).json()["items"][0]
    signals = [each for each in best["reasons"] if each["kind"] == "signal"]
    (fact,) = [each for each in best["reasons"] if each["kind"] == "fact"]
    first = page.locator("ol.ranked > li").first
    technical = first.locator(".technical")
    expect(technical.locator("dl")).to_be_hidden()
    expect(first.locator(".reasons")).not_to_contain_text("raised")
    technical.locator("summary").click()
    expect(technical).to_contain_text(fact["text"])
    told = [each["text"].partition(": ")[2] for each in signals]
    assert len(told) > 3
    expect(technical.locator("dt")).to_have_text(told)
    shown = [f"{each['value']:+.2f}".replace("-", "\N{MINUS SIGN}") for each in signals]
    expect(technical.locator("dd")).to_have_text(shown)


def test_what_a_visitor_opens_counts_and_is_kept_nowhere(opened: Open, service: Service) -> None:
    page = opened("#/for/a-visitor")
    before, visited = titles(page), []
    for place in (2, 4):
        visited.append(title := titles(page)[place])
        page.get_by_role("link", name=title, exact=True).click()
        expect(page.get_by_role("heading", name=title)).to_be_visible()
        page.get_by_role("link", name="For a-visitor").click()
    expect(page.get_by_text("2 items opened on this visit count")).to_be_visible()
    expect(page.get_by_text("known by this visit")).to_be_visible()
    ids = {f"Film number {number}": f"f{number}" for number in range(80)}
    session = [ids[title] for title in visited]
    expected = answered(service, "a-visitor", session=session)
    assert expected != before
    wait_until(lambda: titles(page) == expected)
    assert service.get("/users/a-visitor/history").json()["events"] == []
    assert service.get("/users?prefix=a-vis").json()["users"] == []
    page.get_by_role("button", name="Forget").click()
    wait_until(lambda: titles(page) == before)
    expect(page.get_by_text("opened on this visit")).to_have_count(0)
    known = opened("#/for/u9")
    unchanged = titles(known)
    known.get_by_role("link", name=unchanged[0], exact=True).click()
    known.get_by_role("link", name="For u9").click()
    assert titles(known) == unchanged
    expect(known.get_by_text("opened on this visit")).to_have_count(0)


def test_a_list_moves_only_where_motion_is_welcome(opened: Open) -> None:
    count = "let n = 0, f = Element.prototype.animate;"
    count += "Element.prototype.animate = function (...a) { n++; return f.apply(this, a) };"
    count += "window.animated = () => n"
    for motion in ("no-preference", "reduce"):
        page = opened("#/for/u20", reduced_motion=motion)
        page.evaluate(count)
        before = titles(page)
        page.get_by_label("Items").select_option("5")
        expect(page.locator("ol.ranked > li")).to_have_count(5)
        page.get_by_label("Items").select_option("10")
        expect(page.locator("ol.ranked > li")).to_have_count(10)
        assert titles(page) == before
        assert page.evaluate("animated()") == (5 if motion == "no-preference" else 0)


def test_a_wrong_filter_shows_where_and_a_right_one_holds(opened: Open) -> None:
    page = opened("#/for/u3")
    field = page.get_by_label("Only where")
    field.fill("year < 1980 and prize")
    problem = page.locator("#filter-problem")
    expect(problem).to_contain_text("character 17")
    expect(problem).to_contain_text("unknown column 'prize'")
    assert problem.locator("mark").inner_text() == "p"
    expect(field).to_have_attribute("aria-invalid", "true")
    field.fill("year < 1980")
    expect(problem).to_have_count(0)
    wait_until(lambda: max(map(year_of, titles(page))) < 1980)
    assert len(titles(page)) == 10
    page.reload()  # it is in the address
    expect(field).to_have_value("year < 1980")
    field.fill("year < 1900")
    expect(page.get_by_text("No item is left")).to_be_visible()


def test_words_weights_and_bounds_are_asked_of_the_service(opened: Open, service: Service) -> None:
    page = opened("#/for/u4")
    page.get_by_label("Looking for").fill("a western")
    page.get_by_text("Order and variety").click()
    page.get_by_label("Satisfaction").fill("2")
    page.get_by_label("Diversity").fill("0.5")
    page.get_by_label("At most").and_(page.locator("input")).fill("2")
    page.get_by_label("At most").and_(page.locator("input")).press("Tab")
    asked = {
        "query": "a western",
        "objective": {"satisfaction": 2},
        "diversity": 0.5,
        "max_per": {"genres": 2},
    }
    for each in ("query=a\\+western", "satisfaction=2", "diversity=0.5", "per=genres", "most=2"):
        expect(page).to_have_url(re.compile(each))
    expected = answered(service, "u4", **asked)
    assert expected != answered(service, "u4")
    wait_until(lambda: titles(page) == expected)


def test_an_item_has_its_features_and_what_is_near(opened: Open, service: Service) -> None:
    page = opened("#/item/f21?for=u5&n=5")
    expect(page.get_by_role("heading", name="Film number 21")).to_be_visible()
    expect(page.locator("dl").first).to_contain_text("1971")
    near = service.post("/similar", {"item_id": "f21", "n": 10}).json()["items"]
    expect(page.locator(".nearest a")).to_have_text([item["title"] for item in near])
    n_events = service.get("/items/f21").json()["statistics"]["item_n_events"]
    page.get_by_role("button", name="Rate 2: Film number 21").click()
    expect(page.locator("dl").last).to_contain_text(f"events{n_events + 1}")
    page.get_by_role("link", name="For u5").click()
    expect(page.locator("ol.ranked > li")).to_have_count(5)
    expect(page.locator(".events li").first).to_contain_text("Film number 21")
    page.goto(f"{page.url.partition('#')[0]}#/item/none")
    expect(page.get_by_role("alert")).to_contain_text("item 'none': got no such item")


def test_two_versions_answer_side_by_side(opened: Open, service: Service, shadow: str) -> None:
    main = next(model["name"] for model in service.get("/status").json()["models"])
    page = opened("#/compare/u6?n=20")
    expect(page.locator("ol.ranked")).to_have_count(2)
    left = answered(service, "u6", n=20, model=main)
    right = answered(service, "u6", n=20, model=shadow)
    assert left != right
    assert (titles(page, 0), titles(page, 1)) == (left, right)
    expect(page.get_by_text(f"{len({*left} & {*right})} of 20 are in both")).to_be_visible()
    page.get_by_label("Model", exact=True).nth(1).select_option(main)
    expect(page.get_by_text("20 of 20 are in both")).to_be_visible()


@contextmanager
def paused(redis: RunningRedis) -> Iterator[None]:
    os.kill(redis.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(redis.pid, signal.SIGCONT)


def test_the_panel_and_the_list_say_what_is_missing(opened: Open, redis: RunningRedis) -> None:
    panel, listed = opened("#/health"), opened("#/for/u7")
    expect(panel.get_by_text("Ready.")).to_be_visible()
    expect(panel.get_by_role("row", name="/recommend")).to_be_visible()
    assert titles(listed)
    with paused(redis):
        listed.get_by_label("Items").select_option("5")
        expect(listed.get_by_role("alert").first).to_contain_text("online store unavailable")
        expect(panel.get_by_text("Not ready.")).to_be_visible()
    expect(panel.get_by_text("Ready.", exact=True)).to_be_visible()


def test_a_service_that_is_away_is_said(opened: Open) -> None:
    page = opened("#/for/u8")
    assert titles(page)
    page.context.set_offline(True)
    page.get_by_label("Items").select_option("5")
    expect(page.get_by_text("The service does not answer")).to_be_visible()
    page.context.set_offline(False)
    page.get_by_label("Items").select_option("20")
    expect(page.locator("ol.ranked > li")).to_have_count(20)
