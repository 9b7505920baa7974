"""A real HTTP server in OpenAI's embeddings form, whose faults a test chooses."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from tests.feast_fusion.encoding.cache_writer import vectors_of
from tests.waiting import wait_until

WIDTH = 16


@dataclass
class Behaviour:
    """What the server does; `asked` are the texts of each request, `begun` when it came."""

    failures: list[int] = field(default_factory=list)  # statuses of the next answers
    retry_after: str = "0"
    torn: int = 0  # next answers that break off in the middle
    key: str | None = None
    most_texts: int = 1000
    longest_text: int = 10**6
    width: int = WIDTH
    delay_s: float = 0.0
    salt: str = ""  # another salt is another model
    forgets: int = 0  # texts that an answer leaves out
    body: str | None = None
    asked: list[list[str]] = field(default_factory=list)
    begun: list[float] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0

    def vectors(self, texts: list[str]) -> np.ndarray:
        directions = vectors_of([self.salt + text for text in texts]) - 2.0**15
        return directions[:, : self.width]


def _answer(behaviour: Behaviour, texts: list[str]) -> Response:
    if behaviour.failures:
        status = behaviour.failures.pop(0)
        return JSONResponse({"error": "busy"}, status, {"Retry-After": behaviour.retry_after})
    if len(texts) > behaviour.most_texts or max(map(len, texts)) > behaviour.longest_text:
        return JSONResponse({"error": "batch size > maximum allowed"}, 413)
    time.sleep(behaviour.delay_s)
    if behaviour.body is not None:
        return Response(behaviour.body, media_type="application/json")
    if behaviour.torn:
        behaviour.torn -= 1
        return Response('{"data": [{"index"', headers={"Content-Length": "9999"})
    rows = behaviour.vectors(texts).tolist()
    data = [{"index": at, "embedding": row} for at, row in enumerate(rows)]
    return JSONResponse({"data": data[behaviour.forgets :][::-1]})  # in any order


def _app(behaviour: Behaviour) -> FastAPI:
    app, counting = FastAPI(), threading.Lock()

    @app.post("/v1/embeddings")
    def embeddings(request: Request, body: dict[str, Any]) -> Response:
        sent = request.headers.get("Authorization")
        if behaviour.key is not None and sent != f"Bearer {behaviour.key}":
            return JSONResponse({"error": "key"}, 401)
        with counting:
            behaviour.begun.append(time.monotonic())
            behaviour.asked.append(body["input"])
            behaviour.under_way += 1
            behaviour.most_under_way = max(behaviour.most_under_way, behaviour.under_way)
        try:
            return _answer(behaviour, body["input"])
        finally:
            with counting:
                behaviour.under_way -= 1

    return app


@contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """The url of a server of this app on a free port."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[str]:
    with running(_app(behaviour)) as url:
        yield url
