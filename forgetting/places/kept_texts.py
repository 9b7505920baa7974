"""Vectors of texts that only a person has, and what a language model wrote of the person."""

from collections.abc import Iterator

import pyarrow as pa

from feast_fusion.encoding.cache_care import list_caches, remove_vectors
from forgetting.case import Case, Surroundings
from forgetting.evidence import gather_evidence
from transformations.writing import user_writer


def erase(case: Case) -> int:
    """Remove records of caches; how many."""
    folder, shared = case.workspace.vectors, case.place.shared_vectors
    n_erased = sum(remove_vectors(folder, c, case.keys(c.cache_id)) for c in list_caches(folder))
    if shared is not None:
        from feast_fusion.shared_vectors.part_care import list_shared, remove_shared

        for each in list_shared(shared):
            n_erased += remove_shared(shared, each, case.keys(each.encoder_id))
    written = [key for user_id in case.people for key in case.evidence(user_id).writings]
    if written:
        n_erased += user_writer(case.workspace).remove(list(map(bytes.fromhex, written)))
    return n_erased


def read(place: Surroundings, user_id: str) -> Iterator[tuple[str, pa.Table]]:
    """The texts; the vectors of most of them are among the rows of views, too."""
    texts = gather_evidence(place.workspace, user_id).texts
    yield "texts", pa.table({"text": pa.array(texts, pa.string())})
