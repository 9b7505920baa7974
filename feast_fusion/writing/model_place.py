"""Where the model of a writer is: a GGUF file, a folder, the hub's cache, a download, a server.

Imports neither torch nor transformers, so that `feast apply` stays light.
"""

from dataclasses import dataclass
from pathlib import Path

from feast_fusion.encoding.model_files import digest_file, digest_files, require_whole
from feast_fusion.encoding.model_folder import find_model_folder
from feast_fusion.errors import FeatureNotFoundError, schema_error
from feast_fusion.served_model import ServedModel

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


@dataclass(frozen=True, kw_only=True)
class ChatServer(ServedModel):
    """A server's model that writes.

    Attributes
    ----------
    json_schema : whether the server is told the JSON schema of the answer
    """

    json_schema: bool = True


def find_local_model(model: str) -> LocalModel:
    """The model of that name: a GGUF file, a folder, else the hub's cache, else a download.

    Raises
    ------
    FeatureNotFoundError, StoreUnavailableError, MissingExtraError
        As `find_model_folder`.
    SchemaError
        A file is not whole, or no GGUF file.
    """
    path = Path(model).expanduser()
    if path.suffix == ".gguf":
        return LocalModel(_gguf_file(path))
    return LocalModel(find_model_folder(model, require_whole, "writer"))


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
