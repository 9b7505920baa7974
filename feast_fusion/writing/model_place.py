"""Where the model of a writer is: a GGUF file, a folder, the hub's cache, a download, a server.

Imports neither torch nor transformers, so that `feast apply` stays light.
"""

from dataclasses import dataclass
from pathlib import Path

from feast_fusion.encoding.model_files import digest_file, digest_files, require_whole
from feast_fusion.errors import (
    FeatureNotFoundError,
    StoreUnavailableError,
    extra_required,
    schema_error,
)

_DOWNLOADED = ["*.json", "*.txt", "*.model", "*.jinja", "*.safetensors"]
_GGUF = b"GGUF"


@dataclass(frozen=True)
class LocalModel:
    """A model on this machine: a GGUF file, or a folder that transformers reads."""

    path: Path

    @property
    def is_gguf(self) -> bool:
        """Whether it is a GGUF file."""
        return self.path.is_file()

    def digest(self) -> dict[str, str]:
        """SHA-256 of its files, by name."""
        if self.is_gguf:
            return {"gguf": digest_file(self.path)}
        templates = sorted(self.path.glob("*.jinja"))
        return digest_files(self.path) | {path.name: digest_file(path) for path in templates}


@dataclass(frozen=True)
class ChatServer:
    """A server with OpenAI's chat-completions form; only the model's name is part of the identity.

    Attributes
    ----------
    name : of the model, as the server knows it
    url : to which `/chat/completions` is added: "http://localhost:8080/v1"
    api_key_variable : environment variable of the key; None for a server without one
    n_parallel : requests under way at once
    timeout_s : for one answer
    n_attempts : at one request, the wait between them doubling from half a second
    json_schema : whether the server is told the JSON schema of the answer
    """

    name: str
    url: str
    api_key_variable: str | None = None
    n_parallel: int = 4
    timeout_s: float = 120.0
    n_attempts: int = 7
    json_schema: bool = True


def find_local_model(model: str) -> LocalModel:
    """The model of that name: a GGUF file, a folder, else the hub's cache, else a download.

    Raises
    ------
    FeatureNotFoundError
        There is no such file, or a folder lacks config.json, weights or vocabulary.
    StoreUnavailableError
        The hub does not know the model or cannot be reached.
    SchemaError
        A file is not whole, or no GGUF file.
    MissingExtraError
        A hub name was given, and the extra [writer] is not installed.
    """
    path = Path(model).expanduser()
    if path.suffix == ".gguf":
        return LocalModel(_gguf_file(path))
    folder = path if path.is_dir() else _from_hub(model)
    require_whole(folder)
    return LocalModel(folder.resolve())


def _gguf_file(path: Path) -> Path:
    if not path.is_file():
        raise FeatureNotFoundError(
            f"model {path}: got no such file, expected a GGUF file. Correct [writer] model."
        )
    with path.open("rb") as file:
        start = file.read(len(_GGUF))
    if start != _GGUF:
        raise schema_error(
            str(path), got="another start", expected="a GGUF file", remedy="Fetch it again."
        )
    return path.resolve()


def _from_hub(model: str) -> Path:
    with extra_required("writer"):
        from huggingface_hub import snapshot_download
    name, _, revision = model.partition("@")
    for is_local in (True, False):
        try:
            found = snapshot_download(
                name,
                revision=revision or None,
                local_files_only=is_local,
                allow_patterns=_DOWNLOADED,
            )
            return Path(found)
        except (OSError, ValueError) as error:  # the hub's own errors are OSError or ValueError
            if not is_local:
                raise StoreUnavailableError(
                    f"model {model!r}: got {type(error).__name__} from the Hugging Face hub, "
                    "expected the model. Check the name and the connection, or name a folder or a "
                    "GGUF file in [writer] model."
                ) from error
    raise AssertionError("the loop returns or raises")
