"""A model behind a server with one of OpenAI's forms. Imports no HTTP client."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """Where a model answers, and how it is asked; only its name is part of an identity.

    Attributes
    ----------
    name : of the model, as the server knows it
    url : of the server, to which the form's path is added: "http://localhost:8080/v1"
    api_key_variable : environment variable of the key; None for a server without one
    n_parallel : requests under way at once
    requests_per_s : the most requests in a second; None without a bound
    timeout_s : for one answer
    n_attempts : at one request, the wait between them doubling from half a second
    """

    name: str
    url: str
    api_key_variable: str | None = None
    n_parallel: int = 4
    requests_per_s: float | None = None
    timeout_s: float = 120.0
    n_attempts: int = 7
