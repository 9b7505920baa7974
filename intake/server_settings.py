"""`[encoder.server]` and `[writer.server]`: servers with one of OpenAI's forms."""

from typing import Annotated

from pydantic import Field

from intake.model_settings import Section


class ModelServer(Section):
    """What a section of a server has, whatever its form.

    Attributes
    ----------
    url : to which `/embeddings` or `/chat/completions` is added, such as "http://localhost:8080/v1"
    api_key_variable : environment variable that has the key; None: no key is sent
    n_parallel : requests under way at once
    requests_per_s : the most requests in a second; None: no bound
    timeout_s : for one answer
    n_attempts : at one request, the wait between them doubling
    """

    url: Annotated[str, Field(pattern=r"^https?://")]
    api_key_variable: str | None = None
    n_parallel: Annotated[int, Field(ge=1)] = 4
    requests_per_s: Annotated[float, Field(gt=0)] | None = None
    timeout_s: Annotated[float, Field(gt=0)] = 120.0
    n_attempts: Annotated[int, Field(ge=1)] = 7


class EncoderServer(ModelServer):
    """`[encoder.server]`: a server with OpenAI's embeddings form that computes the vectors.

    Attributes
    ----------
    texts_per_request : the most texts in one request
    """

    texts_per_request: Annotated[int, Field(ge=1)] = 32


class WriterServer(ModelServer):
    """`[writer.server]`: a server with OpenAI's chat-completions form that runs the model.

    Attributes
    ----------
    json_schema : whether the server is told the JSON schema of an answer; false for a server that
        refuses it
    """

    json_schema: bool = True
