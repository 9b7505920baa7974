"""What mkdocs asks of us: the routes of the service, from the application, and the decisions."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from serving.http.app import create_app
from serving.http.library import Library
from serving.http.settings import ServiceSettings

_DECISIONS = Path(__file__).parent / "decisions"
_NO_DEFAULT = "<code>Sentinel.UNSET</code>"  # what mkdocs-click writes with click 8.3 and later

Schema = Mapping[str, Any]


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A page with what its marks name."""
    for mark, lines in _MADE.items():
        if mark in markdown:
            markdown = markdown.replace(mark, "\n".join(lines()))
    return markdown


def on_page_content(html: str, **_: Any) -> str:
    """A page without defaults that are none."""
    return html.replace(_NO_DEFAULT, "")


def _decisions() -> Iterator[str]:
    for path in sorted(_DECISIONS.glob("*.md")):
        title = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        yield f"- [{title.replace('. ', ': ', 1)}](decisions/{path.name})"


def _routes() -> Iterator[str]:
    parts = [object() for _ in get_args(Library)]  # of routes only signatures are asked
    app = create_app(*parts, ServiceSettings(), remove=lambda user_id: None)
    published = app.openapi()
    for path, operations in published["paths"].items():
        for method, operation in operations.items():
            yield f"## {method.upper()} {path}\n\n{operation.get('description', '')}\n"
            yield from _fields(published, operation)


def _fields(published: Schema, operation: Schema) -> Iterator[str]:
    """The table of what a request has."""
    rows = [
        (each["name"], each["schema"], each["schema"].get("description", ""), each["required"])
        for each in operation.get("parameters", [])
    ]
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content:
        body = _named(published, content["schema"])
        required = body.get("required", [])
        rows += [
            (name, field, field.get("description", ""), name in required)
            for name, field in body.get("properties", {}).items()
        ]
    if rows:
        yield "| field | kind | default | meaning |\n|---|---|---|---|"
        for name, field, meaning, is_required in rows:
            default = "required" if is_required else _code(field.get("default"))
            yield f"| `{name}` | {_kind(published, field)} | {default} | {meaning} |"
        yield ""


def _named(published: Schema, schema: Schema) -> Schema:
    if "$ref" not in schema:
        return schema
    found: Schema = published["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
    return found


def _kind(published: Schema, field: Schema) -> str:
    """`integer, 1 to 500`, or `list of string`."""
    if "anyOf" in field:
        kinds = [_kind(published, each) for each in field["anyOf"]]
        return " or ".join(kind for kind in dict.fromkeys(kinds) if kind != "null")
    found = _named(published, field)
    kind = str(found.get("type", "any"))
    if kind == "array":
        return f"list of {_kind(published, found['items'])}"
    if "enum" in found:
        return " or ".join(_code(value) for value in found["enum"])
    if kind == "object" and "title" in found and "properties" in found:
        return f"object: {', '.join(found['properties'])}"
    low, high = found.get("minimum"), found.get("maximum")
    return kind + (f", {low} to {high}" if low is not None and high is not None else "")


def _code(value: object) -> str:
    return "" if value is None else f"`{value}`"


_MADE: Mapping[str, Callable[[], Iterator[str]]] = {
    "<!-- routes -->": _routes,
    "<!-- decisions -->": _decisions,
}
