"""A data set: three Parquet files and one `dataset.toml` that says what the columns mean."""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from feast_fusion.errors import SchemaError, schema_error

Columns = tuple[str, ...]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Items(_Section):
    """`[items]`: the file of item versions and which of its columns are features."""

    path: Path
    title: str
    text: str
    numeric: Columns = ()
    categorical: Columns = ()

    @property
    def text_columns(self) -> Columns:
        """Columns named by the text template, in order of first use."""
        return tuple(dict.fromkeys(re.findall(r"\{(\w+)\}", self.text)))


class Users(_Section):
    """`[users]`: the optional file of user versions."""

    path: Path
    numeric: Columns = ()
    categorical: Columns = ()


class Interactions(_Section):
    """`[interactions]`: the event log. `positive` is an SQL expression over its columns."""

    path: Path
    explicit: bool = False
    positive: str | None = None


class Activity(_Section):
    """`[activity]`: how events become point-in-time features.

    history: items kept in `user_recent`; snapshot_every: a behaviour text is encoded after each
    n-th event of a user; behaviour_tokens: token budget of that text; window_days: the two
    popularity windows; categories: categories kept per user in `user_stats`.
    """

    history: Annotated[int, Field(ge=1, le=10_000)] = 50
    snapshot_every: Annotated[int, Field(ge=1)] = 10
    behaviour_tokens: Annotated[int, Field(ge=8)] = 64
    window_days: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = (7, 30)
    categories: Annotated[int, Field(ge=1)] = 20


class Encoder(_Section):
    """`[encoder]`: the language model that encodes text. `pooling` None: as the model says."""

    model: str = "sentence-transformers/all-MiniLM-L6-v2"
    max_tokens: Annotated[int, Field(ge=4)] = 256
    pooling: str | None = None
    prompt: str = ""

    @property
    def options(self) -> dict[str, Any]:
        """What `describe_encoder` and `load_encoder` take beside the model."""
        return {"max_tokens": self.max_tokens, "pooling": self.pooling, "prompt": self.prompt}


class Cleaning(_Section):
    """`[cleaning]`: optional cleaning. NFKC, HTML and control characters are always cleaned."""

    punctuation: bool = False
    digits: bool = False
    stop_words: Columns = ()


Decay = Annotated[float, Field(ge=0.0, lt=1.0)]
Weight = Annotated[float, Field(allow_inf_nan=False)]


class InterestType(_Section):
    """`[interest.types.<event_type>]`: what events of one type have instead of the defaults.

    decay: their `a`; weight: their `w`, whether positive or not.
    """

    decay: Decay | None = None
    weight: Weight | None = None


class Interest(_Section):
    """`[interest]`: the moving average `v <- a*v + (1-a)*w*e` of item vectors.

    decay: `a`, per event; negative_weight: `w` of an event that is not positive; types: other
    `a` and `w` per event_type, where a type that is not listed has the defaults.
    """

    decay: Decay = 0.9
    positive_weight: Weight = 1.0
    negative_weight: Weight = -0.5
    types: dict[str, InterestType] = {}

    def rule(self, positive: bool, event_type: str | None) -> tuple[float, float]:
        """`w` and `a` of an event."""
        own = self.types.get(event_type) if event_type is not None else None
        weight = self.positive_weight if positive else self.negative_weight
        if own is None:
            return weight, self.decay
        return (
            weight if own.weight is None else own.weight,
            self.decay if own.decay is None else own.decay,
        )


class Dataset(_Section):
    """A parsed `dataset.toml`; every path is absolute."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    items: Items
    users: Users | None = None
    interactions: Interactions
    activity: Activity = Activity()
    encoder: Encoder = Encoder()
    cleaning: Cleaning = Cleaning()
    interest: Interest = Interest()
    path: Path

    @field_validator("interactions")
    @classmethod
    def _explicit_needs_positive(cls, value: Interactions) -> Interactions:
        if value.explicit and value.positive is None:
            raise ValueError("explicit = true needs positive, such as positive = 'value >= 4'")
        return value


def load_dataset(path: str | Path) -> Dataset:
    """The data set described by the TOML file at `path`, its paths resolved against that file.

    Raises
    ------
    SchemaError
        The file is missing or not TOML, a key is unknown or missing, or a value has a wrong type.
    """
    path = Path(path).expanduser().resolve()
    if not path.is_file():
        raise schema_error(
            f"{path}",
            got="no such file",
            expected="a dataset.toml",
            remedy="Name one with --dataset or FUSION_DATASET; examples/movielens shows one.",
        )
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SchemaError(f"{path}: not valid TOML: {error}. Correct the file.") from error
    for section in ("items", "users", "interactions"):
        table = raw.get(section)
        if isinstance(table, dict) and isinstance(table.get("path"), str):
            table["path"] = path.parent / table["path"]
    encoder = raw.get("encoder")
    if isinstance(encoder, dict) and isinstance(encoder.get("model"), str):
        folder = path.parent / encoder["model"]
        if folder.is_dir():
            encoder["model"] = str(folder)
    try:
        return Dataset(**{**raw, "path": path})
    except ValidationError as error:
        raise SchemaError(f"{path}: {_explain(error)}") from error


def _explain(error: ValidationError) -> str:
    return "; ".join(_explain_one(detail) for detail in error.errors())


def _explain_one(detail: Any) -> str:
    *sections, key = [str(part) for part in detail["loc"]] or [""]
    where = f"[{'.'.join(sections)}] {key}" if sections else key
    if detail["type"] == "extra_forbidden":
        model = Dataset.model_fields.get(sections[0]) if sections else None
        known = _keys_of(sections) if model else sorted(Dataset.model_fields.keys() - {"path"})
        return f"unknown key {where}; expected one of {', '.join(known)}. Remove or rename it"
    if detail["type"] == "missing":
        return f"missing key {where}; add it (examples/movielens/dataset.toml shows every key)"
    return f"{where}: got {detail.get('input')!r}; {detail['msg']}"


def _keys_of(sections: list[str]) -> list[str]:
    if sections[:2] == ["interest", "types"]:
        return sorted(InterestType.model_fields)
    models: dict[str, type[_Section]] = {
        "items": Items,
        "users": Users,
        "interactions": Interactions,
        "activity": Activity,
        "encoder": Encoder,
        "cleaning": Cleaning,
        "interest": Interest,
    }
    return sorted(models[sections[0]].model_fields)
