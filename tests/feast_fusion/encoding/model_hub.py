"""A server that answers as the Hugging Face hub does for the one model in a folder."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastapi import FastAPI, Response
from fastapi.responses import FileResponse

from tests.feast_fusion.encoding.embeddings_server import running

COMMIT = "a" * 40


@contextmanager
def hub_of(folder: Path, name: str) -> Iterator[tuple[str, list[str]]]:
    """The url of the server, and the files that were fetched from it."""
    app, fetched = FastAPI(), list[str]()

    @app.get(f"/api/models/{name}/revision/{{revision}}")
    def model(revision: str) -> dict[str, object]:
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        siblings = [{"rfilename": str(path.relative_to(folder))} for path in files]
        return {"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings}

    @app.get(f"/api/models/{name}/tree/{{revision}}")
    def tree(revision: str) -> list[dict[str, object]]:
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return [
            {
                "type": "file",
                "path": str(path.relative_to(folder)),
                "size": path.stat().st_size,
                "oid": _digest(path)[:40],
            }
            for path in files
        ]

    @app.head(f"/{name}/resolve/{{revision}}/{{path:path}}")
    @app.get(f"/{name}/resolve/{{revision}}/{{path:path}}")
    def resolve(revision: str, path: str) -> Response:
        if not (folder / path).is_file():
            return Response(status_code=404, headers={"X-Error-Code": "EntryNotFound"})
        fetched.append(path)
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{_digest(folder / path)}"'}
        return FileResponse(folder / path, headers=headers)

    with running(app) as url:
        yield url.removesuffix("/v1"), fetched


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
