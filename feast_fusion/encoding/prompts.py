"""What stands before a text, by what the text is. Imports no torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from feast_fusion.encoding.model_files import read_json
from feast_fusion.errors import schema_error

Role = Literal["item", "behaviour", "query"]

_DOCUMENT_NAMES = ("document", "passage", "corpus")


@dataclass(frozen=True)
class Prompts:
    """One prompt for each role of a text.

    Attributes
    ----------
    item : what is looked for
    behaviour : what a user did, which looks for items
    query : what a user typed, which looks for items
    """

    item: str = ""
    behaviour: str = ""
    query: str = ""

    def of(self, role: Role) -> str:
        """The prompt of texts of a role."""
        return str(getattr(self, role))


def read_prompts(folder: Path | None, given: Mapping[str, str | None]) -> Prompts:
    """The prompts of an encoder: those given, else the model's own.

    The model's own are in config_sentence_transformers.json: items have that of documents,
    behaviours and queries that of queries, and either the default prompt where it has none.

    Raises
    ------
    SchemaError
        A role or the name of the default prompt is unknown.
    """
    roles = [field.name for field in fields(Prompts)]
    unknown = sorted(set(given) - set(roles))
    if unknown:
        raise schema_error(
            "[encoder] prompts",
            got=", ".join(unknown),
            expected=f"any of {', '.join(roles)}",
            remedy="Correct the name.",
        )
    own = asdict(_own_prompts(folder)) if folder is not None else {}
    return Prompts(**own | {role: text for role, text in given.items() if text is not None})


def _own_prompts(folder: Path) -> Prompts:
    path = folder / "config_sentence_transformers.json"
    config = read_json(path)
    named = {name: text or "" for name, text in (config.get("prompts") or {}).items()}
    default_name = config.get("default_prompt_name")
    if default_name is not None and default_name not in named:
        raise schema_error(
            str(path),
            got=f"default_prompt_name {default_name!r}",
            expected=f"one of {sorted(named)}",
            remedy="Fetch the model again.",
        )
    default = named.get(default_name, "")
    documents = [named[name] for name in _DOCUMENT_NAMES if name in named]
    item = next(filter(None, documents), "" if documents else default)
    query = named.get("query", default)
    return Prompts(item, query, query)
