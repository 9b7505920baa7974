"""The page for everybody: by screen reader or keyboard, in the dark, on a phone, with a key."""

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.serving.http.service_process import KEY

Open = Callable[..., Page]

VIEWS = {
    "nobody chosen": ("", "Who is it for?"),
    "a user": ("#/for/u3?diversity=0.2", "For u3"),
    "somebody new": ("#/for/somebody?query=a+western", "For somebody"),
    "a wrong filter": ("#/for/u3?filter=year+%3C", "For u3"),
    "an item": ("#/item/f3?for=u3", "Film number 3"),
    "two versions": ("#/compare/u3", "Two models for u3"),
    "health": ("#/health", "Health"),
}


def show(opened: Open, name: str, **options: object) -> Page:
    view, heading = VIEWS[name]
    page = opened(view, **options)
    expect(page.get_by_role("heading", name=heading)).to_be_visible()
    page.wait_for_load_state("networkidle")
    return page


def violations(page: Page) -> list[str]:
    """What axe finds, in a sentence each."""
    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {node['html'][:150]}" for each in found for node in each["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", VIEWS)
def test_axe_finds_nothing(opened: Open, name: str, scheme: str) -> None:
    page = show(opened, name, color_scheme=scheme)
    for closed in page.locator("details:not([open]) > summary").all()[:3]:
        closed.click()
    assert violations(page) == []


def test_axe_finds_what_is_planted(opened: Open) -> None:
    page = show(opened, "health")
    page.evaluate("document.querySelector('h1').style.color = '#ddd'")
    assert any(each.startswith("color-contrast") for each in violations(page))


@pytest.mark.parametrize("name", VIEWS)
def test_a_phone_shows_it_without_scrolling_sideways(opened: Open, name: str) -> None:
    page = show(opened, name, viewport={"width": 360, "height": 740}, has_touch=True)
    root = "document.documentElement"
    assert page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth")


def test_a_keyboard_is_enough(opened: Open) -> None:
    page = opened()
    expect(page.get_by_role("heading", name="Who is it for?")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("combobox", name="User")).to_be_focused()
    page.keyboard.type("u2")
    expect(page.get_by_role("option")).to_have_count(11)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("option", selected=True)).to_contain_text("u20")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="For u20")).to_be_visible()
    expect(page.locator("main")).to_be_focused()
    liked = page.get_by_role("button", name="Liked: ").first
    expect(liked).to_be_visible()
    name = liked.get_attribute("aria-label")
    assert name is not None
    for _ in range(120):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('aria-label')") == name:
            break
    page.keyboard.press("Enter")
    expect(page.locator(".events li a").first).to_have_text(name.removeprefix("Liked: "))


def test_a_key_is_asked_for_and_kept_for_the_tab_alone(opened: Open) -> None:
    page = opened("#/for/u3", key=None)
    expect(page.get_by_role("heading", name="This service asks for a key")).to_be_visible()
    assert violations(page) == []
    page.get_by_label("API key").fill("a guess")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("alert")).to_contain_text("Got no valid API key")
    page.get_by_label("API key").fill(KEY)
    page.keyboard.press("Enter")
    expect(page.locator("ol.ranked > li")).to_have_count(10)
    page.reload()
    expect(page.locator("ol.ranked > li")).to_have_count(10)
    kept = page.evaluate("[localStorage.length, document.cookie, sessionStorage.length]")
    assert kept == [0, "", 1]
    assert KEY not in page.url
