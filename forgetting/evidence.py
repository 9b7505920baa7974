"""What has to be known of a person while the person is erased, and is gone afterwards."""

from datetime import datetime

import polars as pl
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from feast_fusion.encoding.cache_care import list_caches
from feast_fusion.encoding.vector_cache import text_keys
from feast_fusion.parquet.whole import read_parquet
from intake.event import EVENT_FORMAT
from intake.journal_erasure import JournalErasure
from intake.workspace import Workspace
from intake.writer_settings import PORTRAIT
from transformations.declared_encoders import identify_every
from transformations.embedder import Embedder
from transformations.names import INTERACTIONS, USER_SNAPSHOTS
from transformations.writing import user_writer

_SHORT = 24  # characters: a shorter text may be anybody's
_TITLES = ["liked", "disliked"]


class Evidence(BaseModel):
    """What was found of a person before anything was erased.

    Attributes
    ----------
    first_event : the time of the earliest one
    texts : that only this person has, and that are long enough to be nobody else's
    vectors : by cache, the keys of texts that only this person has, as hexadecimal digits
    writings : keys of what a language model wrote of the person, likewise
    items : with which the person had events in the journal
    n_rows : that all places had
    """

    model_config = ConfigDict(frozen=True)

    first_event: datetime | None = None
    texts: tuple[str, ...] = ()
    vectors: dict[str, tuple[str, ...]] = {}
    writings: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    n_rows: int = 0


def gather_evidence(workspace: Workspace, user_id: str) -> Evidence:
    """What is known of a user; nothing is encoded or written anew.

    Raises
    ------
    FeastFusionError
        An encoder, of whose texts the keys are asked, cannot be opened.
    """
    events = JournalErasure(workspace.events, EVENT_FORMAT).of_user(user_id)
    snapshots = _own_snapshots(workspace, user_id)
    writings, portraits = _written(workspace, snapshots)
    texts, vectors = _encoded(workspace, snapshots, portraits)
    return Evidence(
        first_event=_first_event(workspace, user_id, events),
        texts=tuple(text for text in dict.fromkeys([*texts, *portraits]) if len(text) >= _SHORT),
        vectors=vectors,
        writings=writings,
        items=tuple(dict.fromkeys(events["item_id"].to_pylist())),
    )


def _own_snapshots(workspace: Workspace, user_id: str) -> pa.Table:
    """The behaviour snapshots of a user, but those that equal one of somebody else."""
    path = workspace.source(USER_SNAPSHOTS)
    if not path.is_file():
        return pa.table({name: pa.array([], pa.list_(pa.string())) for name in _TITLES})
    titles = [pl.col(name).list.join("\n", ignore_nulls=True) for name in _TITLES]
    frame = pl.DataFrame(read_parquet(path)).with_columns(
        text=pl.concat_str(titles, separator="\0")
    )
    is_theirs = frame["user_id"] == user_id
    others = frame.filter(~is_theirs).select("text")
    own = frame.filter(is_theirs).join(others, on="text", how="anti", maintain_order="left")
    return own.select(_TITLES).to_arrow()


def _written(workspace: Workspace, snapshots: pa.Table) -> tuple[tuple[str, ...], list[str]]:
    """Keys and portraits of what was written of snapshots."""
    writer = workspace.dataset.writer
    if writer is None or writer.user is None or not len(snapshots):
        return (), []
    kept = user_writer(workspace).kept(snapshots)
    portraits = [str(answer.values[PORTRAIT] or "") for answer in kept.values()]
    return tuple(key.hex() for key in kept), [text for text in portraits if text]


def _encoded(
    workspace: Workspace, snapshots: pa.Table, portraits: list[str]
) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Texts as every declared encoder reads them, and by cache the keys of their vectors.

    A cache of an encoder that is declared no longer is asked for the texts of the others.
    """
    texts: list[str] = []
    keys: dict[str, list[bytes]] = {}
    for _, identity in identify_every(workspace.dataset) if len(snapshots) else ():
        embedder = Embedder(workspace, identity.encoder_id)
        liked, disliked = (snapshots[name].to_pylist() for name in _TITLES)
        own = [*embedder.behaviour_texts(liked, disliked), *embedder.portrait_texts(portraits)]
        keys.setdefault(identity.cache_id, []).extend(embedder.keys_of_users(own))
        texts += filter(None, own)
    for cache in list_caches(workspace.vectors):
        keys.setdefault(cache.cache_id, []).extend(text_keys(cache.cache_id, texts))
    return texts, {name: tuple(k.hex() for k in dict.fromkeys(each)) for name, each in keys.items()}


def _first_event(workspace: Workspace, user_id: str, journal: pa.Table) -> datetime | None:
    times = journal["event_timestamp"].to_pylist()
    if (path := workspace.source(INTERACTIONS)).is_file():
        rows = pl.DataFrame(read_parquet(path, ["user_id", "event_timestamp"]))
        times += rows.filter(pl.col("user_id") == user_id)["event_timestamp"].to_list()
    return min(times, default=None)
