"""A text column -> a column of vectors: an encoder in any Feast transformation."""

from functools import lru_cache
from pathlib import Path

import pandas as pd

from feast_fusion.encoding.cached_encoder import CachedEncoder
from feast_fusion.encoding.identity import describe_encoder
from feast_fusion.errors import schema_error


def embed_column(
    frame: pd.DataFrame,
    column: str,
    *,
    into: str,
    model: str | Path,
    cache: str | Path,
    shared: str | None = None,
    max_tokens: int | None = None,
    pooling: str | None = None,
    prompt: str | None = None,
) -> pd.DataFrame:
    """`frame` with a further column of vectors, each (d,) float32 and L2-normalised.

    Row-wise: a row's vector depends on its text only. A text that is null or blank has the vector
    None. A text is encoded once: its vector is kept under the encoder's id and the text.

    Parameters
    ----------
    column : of the texts, encoded as they are
    into : name of the new column
    model, max_tokens, pooling : of the encoder, see `describe_encoder`
    prompt : what stands before each text; None: the model's own prompt of documents
    cache : folder in which the vectors are kept; several processes of a machine may share it
    shared : a place where the vectors of several machines are kept, see `VectorParts`

    Raises
    ------
    SchemaError
        There is no such column, or it holds something else than text.
    MissingExtraError
        The extra [encoder] is not installed.

    Examples
    --------
    The transformation of a BatchFeatureView (examples/embedding has the whole repository):

        def embed(notes):
            from feast_fusion import embed_column

            return embed_column(
                notes, "text", into="embedding", model="all-MiniLM-L6-v2", cache="vectors"
            )
    """
    texts = _texts_of(frame, column)
    vectors, present = _open(model, cache, shared, max_tokens, pooling, prompt).embed(texts)
    rows = [vector if known else None for vector, known in zip(vectors, present, strict=True)]
    return frame.assign(**{into: pd.Series(rows, index=frame.index, dtype=object)})


def _texts_of(frame: pd.DataFrame, column: str) -> list[str | None]:
    if column not in frame:
        raise schema_error(
            "embed_column",
            got=f"columns {list(frame.columns)}",
            expected=f"a column {column!r}",
            remedy="Name the column of the texts.",
        )
    texts = [
        None if null else v for v, null in zip(frame[column], frame[column].isna(), strict=True)
    ]
    odd = next((text for text in texts if not isinstance(text, str | None)), None)
    if odd is not None:
        raise schema_error(
            f"embed_column: column {column!r}",
            got=f"{odd!r}",
            expected="text or null",
            remedy="Make text of the column first.",
        )
    return texts


@lru_cache(maxsize=8)
def _open(
    model: str | Path,
    cache: str | Path,
    shared: str | None,
    max_tokens: int | None,
    pooling: str | None,
    prompt: str | None,
) -> CachedEncoder:
    prompts = {"item": prompt}
    identity = describe_encoder(model, max_tokens=max_tokens, pooling=pooling, prompts=prompts)
    return CachedEncoder(identity, Path(cache), shared=shared)
