"""A real HTTP server in OpenAI's chat-completions form, whose faults a test chooses."""

import json
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from tests.feast_fusion.encoding.embeddings_server import running


@dataclass
class Behaviour:
    """What the server does; `asked` are the prompts of the answers it began."""

    failures: list[int] = field(default_factory=list)  # statuses of the next answers
    key: str | None = None
    delay_s: float = 0.0
    content: str | None = None  # instead of an answer that fits
    body: str | None = None
    takes_schema: bool = True
    asked: list[str] = field(default_factory=list)
    most_under_way: int = 0
    under_way: int = 0


def fitting_answer(prompt: str, schema: dict[str, Any]) -> str:
    """Each choice by a hash of the text, each list of words its first words, each text the text."""
    text = prompt.splitlines()[-2].partition(": ")[2]
    answer: dict[str, Any] = {}
    for name, form in schema["properties"].items():
        if "enum" in form:
            answer[name] = form["enum"][zlib.crc32(text.encode()) % len(form["enum"])]
        elif form["type"] == "string":
            answer[name] = f"Likes what {text}"
        else:
            answer[name] = text.split()[: form["maxItems"]]
    return json.dumps(answer)


def _answer(behaviour: Behaviour, body: dict[str, Any]) -> Response:
    if behaviour.failures:
        return JSONResponse({"error": "busy"}, behaviour.failures.pop(0), {"Retry-After": "0"})
    form = body.get("response_format")
    if form is not None and not behaviour.takes_schema:
        return JSONResponse({"error": "response_format is not known"}, 400)
    time.sleep(behaviour.delay_s)
    if behaviour.body is not None:
        return Response(behaviour.body, media_type="application/json")
    content = behaviour.content
    prompt = body["messages"][0]["content"]
    if content is None:
        content = fitting_answer(prompt, form["json_schema"]["schema"])
    usage = {"prompt_tokens": len(prompt.split()), "completion_tokens": len(content.split())}
    choice = {"index": 0, "message": {"role": "assistant", "content": content}}
    return JSONResponse({"choices": [choice], "usage": usage})


@contextmanager
def chat_server(behaviour: Behaviour) -> Iterator[str]:
    """The url of a server that behaves so."""
    app, counting = FastAPI(), threading.Lock()

    @app.post("/v1/chat/completions")
    def complete(request: Request, body: dict[str, Any]) -> Response:
        sent = request.headers.get("Authorization")
        if behaviour.key is not None and sent != f"Bearer {behaviour.key}":
            return JSONResponse({"error": "key"}, 401)
        with counting:
            behaviour.asked.append(body["messages"][0]["content"])
            behaviour.under_way += 1
            behaviour.most_under_way = max(behaviour.most_under_way, behaviour.under_way)
        try:
            assert body["temperature"] == 0
            return _answer(behaviour, body)
        finally:
            with counting:
                behaviour.under_way -= 1

    with running(app) as url:
        yield url
