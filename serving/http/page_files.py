"""The page at /, built from page/ and served as files that come with the package."""

from pathlib import Path

from fastapi import FastAPI
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

HOME = "/"
PAGE_FILES = "/page/"

_FOLDER = Path(__file__).parent / "page"
_HEADERS = {
    # All comes from this service, and nobody may frame it: a click there could post an event.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def add_page(app: FastAPI) -> None:
    """Add the page, and its files, whose names change with what is in them."""

    async def page() -> Response:
        return FileResponse(_FOLDER / "index.html", headers=_HEADERS)

    app.get(HOME, include_in_schema=False)(page)
    app.mount(PAGE_FILES.rstrip("/"), _ForEver(directory=_FOLDER))


class _ForEver(StaticFiles):
    """Files that a browser need not ask for again."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response
