"""Requests in OpenAI's chat-completions form, their answers checked."""

from typing import Any

from feast_fusion.errors import StoreUnavailableError, extra_required, schema_error
from feast_fusion.writing.attributes import Attributes
from feast_fusion.writing.model_place import ChatServer
from feast_fusion.writing.writer import Written

with extra_required("writer"):
    import requests

    from feast_fusion.openai_server import OpenAIServer


class CompletionsClient:
    """Asks one server. Safe for many threads.

    Raises
    ------
    StoreUnavailableError
        The environment variable of the key has no value.
    """

    def __init__(self, server: ChatServer, attributes: Attributes) -> None:
        self._name = server.name
        self._server = OpenAIServer(server, "chat/completions", "[writer.server]")
        self._url = self._server.url
        self._body = {"model": server.name, "temperature": 0}
        n_free = 16 * sum(attributes.words.values()) + 4 * sum(attributes.texts.values())
        self._body |= {"max_tokens": 64 + n_free}
        if server.json_schema:
            form = {"name": "attributes", "strict": True, "schema": attributes.json_schema()}
            self._body["response_format"] = {"type": "json_schema", "json_schema": form}

    def complete(self, prompt: str) -> Written:
        """The server's answer to one prompt.

        Raises
        ------
        StoreUnavailableError
            No answer after all attempts, or the request or its key is refused.
        SchemaError
            The answer has another form.
        """
        body = self._body | {"messages": [{"role": "user", "content": prompt}]}
        return self._read(self._server.ask(body, f"an answer of {self._name}"))

    def _read(self, answer: requests.Response) -> Written:
        if answer.status_code != 200:
            raise StoreUnavailableError(
                f"{self._url}: got status {answer.status_code} ({answer.text[:200]!r}), expected "
                f"an answer of {self._name}. Correct url and model; a server that knows no "
                "response_format needs [writer.server] json_schema = false."
            )
        try:
            body: dict[str, Any] = answer.json()
            text = body["choices"][0]["message"]["content"] or ""
            usage = body.get("usage") or {}
            read, written = (int(usage.get(f"{k}_tokens") or 0) for k in ("prompt", "completion"))
            return Written(str(text), read, written)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise schema_error(
                self._url,
                got=f"{answer.text[:100]!r}",
                expected='{"choices": [{"message": {"content": "..."}}]}',
                remedy="Use a server with OpenAI's chat-completions form.",
            ) from error
