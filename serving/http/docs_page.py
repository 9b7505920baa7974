"""The page of all routes at /docs, whose files come from a package: a browser needs no network."""

from importlib.util import find_spec
from pathlib import Path

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

PAGE, SCHEMA = "/docs", "/openapi.json"
FILES = f"{PAGE}/files/"


def add_docs(app: FastAPI) -> None:
    """Add the page, and Swagger UI beneath it."""
    package = find_spec("fastapi_offline")
    assert package is not None and package.origin is not None
    folder = Path(package.origin).parent / "static"

    async def page() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url=SCHEMA,
            title=app.title,
            swagger_js_url=f"{FILES}swagger-ui-bundle.js",
            swagger_css_url=f"{FILES}swagger-ui.css",
            swagger_favicon_url=f"{FILES}favicon.png",
        )

    app.get(PAGE, include_in_schema=False)(page)
    app.mount(FILES.rstrip("/"), StaticFiles(directory=folder))
