"""What an encoder costs: time for its texts, and memory of its vectors in Redis."""

import time

import pyarrow as pa
from feast import FeatureStore

from evaluation.report.document import Section
from feast_fusion.column_names import split_view
from feast_fusion.encoding.encoder import TextEncoder
from feast_fusion.parquet.whole import read_parquet
from feast_fusion.redis_matrix import online_store_of
from intake.workspace import Workspace
from transformations.embedder import Embedder
from transformations.names import ITEMS

_SAMPLE = 256  # texts that are encoded once more
_WARM_UP = 8


class EncoderCost(Section):
    """One encoder.

    dimension: numbers of a vector; n_texts: encoded until now; s_per_1000: seconds for as many item
    texts; n_rows, redis_bytes: of its views in Redis.
    """

    encoder_id: str
    dimension: int
    n_texts: int
    s_per_1000: float
    n_rows: int
    redis_bytes: int


def measure_encoder(workspace: Workspace, store: FeatureStore, encoder_id: str) -> EncoderCost:
    """The cost of a declared encoder whose vectors are in the stores.

    Raises
    ------
    StoreUnavailableError
        Redis, or the encoder's server, does not answer.
    """
    embedder, online = Embedder(workspace, encoder_id), online_store_of(store)
    rows = [
        online.measure_table(store.config, view)
        for view in store.list_batch_feature_views()
        if split_view(view.name)[1] == encoder_id
    ]
    return EncoderCost(
        encoder_id=encoder_id,
        dimension=embedder.identity.dimension,
        n_texts=len(embedder.cached.cache),
        s_per_1000=_seconds_per_1000(embedder.cached.encoder, _some_texts(embedder)),
        n_rows=sum(each.n_rows for each in rows),
        redis_bytes=sum(each.n_bytes for each in rows),
    )


def _some_texts(embedder: Embedder) -> list[str]:
    items: pa.Table = read_parquet(embedder.workspace.source(ITEMS))
    texts = sorted({text for text in embedder.item_texts(items) if text})
    return texts[:: max(1, len(texts) // _SAMPLE)]


def _seconds_per_1000(encoder: TextEncoder, texts: list[str]) -> float:
    encoder.encode(texts[:_WARM_UP])
    began = time.perf_counter()
    encoder.encode(texts)
    return (time.perf_counter() - began) * 1000 / max(1, len(texts))
