"""The real service with a key and a shadow, and a browser that reaches nothing else."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from cli.embedded_redis import start_redis, stop_redis
from cli.redis_process import RunningRedis
from tests.conftest import Project
from tests.serving.http.service_process import KEY, Service, service_process
from tests.trained import add_reversed_version

PATIENCE_MS = 30_000
_ABSENT = "this machine has no chromium; as root: apt-get install chromium"


@dataclass(frozen=True)
class Opened:
    """Opens a view of the page in a context of its own."""

    browser: Browser
    service: Service
    pages: list[Page]
    outside: list[str]
    failures: list[str]

    def __call__(self, view: str = "", *, key: str | None = KEY, **options: object) -> Page:
        """A view by its address after the #; `options` are those of a browser context."""
        page = self.browser.new_context(**options).new_page()  # type: ignore[arg-type]
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.failures.append(str(error)))
        page.on("console", lambda said: self._note(said.text))
        page.route("**/*", lambda route: self._only_here(route))  # a bound method is marked by it
        if key is not None:
            page.add_init_script(f"sessionStorage.setItem('api-key', '{key}')")
        self.pages.append(page)
        page.goto(f"{self.home}{view}")
        return page

    @property
    def home(self) -> str:
        return f"http://127.0.0.1:{self.service.port}/"

    def _only_here(self, route: Route) -> None:
        if route.request.url.startswith(self.home):
            route.continue_()
        else:
            self.outside.append(route.request.url)
            route.abort()

    def _note(self, said: str) -> None:
        if "Content Security Policy" in said:  # a refusal of ours is in the console too
            self.failures.append(said)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip(_ABSENT)
    with sync_playwright() as playwright:
        expect.set_options(timeout=PATIENCE_MS)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def redis(films: Project) -> Iterator[RunningRedis]:
    folder = films.workspace.redis
    yield start_redis(folder)
    stop_redis(folder)


@pytest.fixture(scope="session")
def shadow(films: Project) -> str:
    """The shadow: a version that puts the best item last."""
    name = add_reversed_version(films.workspace)
    films.here("models", "promote", name, "--shadow")
    return name


@pytest.fixture(scope="session")
def service(
    films: Project, redis: RunningRedis, shadow: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    log = tmp_path_factory.mktemp("service") / "log"
    with service_process(films, log, REDIS_URL=redis.url, FUSION_API_KEY=KEY) as started:
        yield started.service
        assert started.stop() == 0, log.read_text()


@pytest.fixture
def opened(browser: Browser, service: Service) -> Iterator[Callable[..., Page]]:
    """No test may ask anybody else, break the policy of the page or end in an error of it."""
    found = Opened(browser, service, [], [], [])
    yield found
    for page in found.pages:
        page.context.close()
    assert found.outside == []
    assert found.failures == []
