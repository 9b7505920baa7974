"""Static embeddings: the vectors of sentence-transformers and of model2vec themselves."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model2vec import StaticModel
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, StaticEmbedding
from tokenizers import Tokenizer, models, pre_tokenizers

from feast_fusion.encoding.cached_encoder import CachedEncoder
from feast_fusion.encoding.encoder import load_encoder
from feast_fusion.encoding.identity import describe_encoder
from feast_fusion.errors import FeatureNotFoundError, SchemaError
from tests.feast_fusion.encoding.test_as_its_authors_meant import TEXTS
from tests.feast_fusion.encoding.tiny_models import VOCABULARY, tokenizer

WIDTH = 12


def _table(n: int = VOCABULARY) -> NDArray[np.float32]:
    return np.random.default_rng(3).normal(size=(n, WIDTH)).astype(np.float32)


def _bytes() -> Tokenizer:
    return tokenizer(is_framed=True)._tokenizer


def _words() -> Tokenizer:
    """Words of which some are unknown, as model2vec distils them."""
    words = ["[UNK]", "Toy", "Story", "film", "a", "long", "garden", "seven", "liked", "Heat"]
    known = Tokenizer(models.WordLevel({w: at for at, w in enumerate(words)}, unk_token="[UNK]"))
    known.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return known


def require_equal(folder: Path, expected: NDArray[np.float32], **options: Any) -> None:
    encoder = load_encoder(folder, **options)
    known = np.linalg.norm(expected, axis=1) > 0
    assert known.sum() > 4
    unit = expected[known] / np.linalg.norm(expected[known], axis=1, keepdims=True)
    found = encoder.encode(TEXTS)
    assert (found[known] * unit).sum(axis=1).min() >= 0.999999
    assert not found[~known].any(), "no token is known: no direction"


@pytest.mark.parametrize("behind", [[], [Normalize()], [Dense(WIDTH, 7), Normalize()]], ids=len)
def test_a_table_of_sentence_transformers(tmp_path: Path, behind: list[Any]) -> None:
    static = StaticEmbedding(_bytes(), embedding_weights=_table())
    model = SentenceTransformer(modules=[static, *behind], device="cpu", prompts={"query": "q: "})
    model.save(str(tmp_path), create_model_card=False)
    require_equal(tmp_path, model.encode(TEXTS))
    found = load_encoder(tmp_path).encode(TEXTS, "query")
    expected = model.encode(TEXTS, prompt_name="query", normalize_embeddings=True)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def _shared() -> dict[str, Any]:
    rng = np.random.default_rng(4)
    weights = rng.uniform(0.1, 2, VOCABULARY).astype(np.float32)
    return {"weights": weights, "token_mapping": rng.integers(0, 50, VOCABULARY)}


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (lambda: StaticModel(_table(), _bytes(), normalize=True), {}),
        (lambda: StaticModel(_table(10), _words()), {}),
        (lambda: StaticModel(_table(10), _words(), max_length=3), {}),
        (lambda: StaticModel(_table(10), _words(), max_length=None), {}),
        (lambda: StaticModel(_table(50), _bytes(), normalize=True, **_shared()), {}),
    ],
    ids=["bytes", "words", "short", "unbounded", "shared rows and weights"],
)
@pytest.mark.parametrize("keeps_list", [True, False])
def test_a_folder_of_model2vec(
    tmp_path: Path, make: Any, options: dict[str, Any], keeps_list: bool
) -> None:
    make().save_pretrained(tmp_path)
    if not keeps_list:  # as older versions wrote it
        (tmp_path / "modules.json").unlink()
    require_equal(tmp_path, StaticModel.from_pretrained(tmp_path).encode(TEXTS), **options)


def test_cut_and_cached_as_any_other(tmp_path: Path) -> None:
    StaticModel(_table(), _bytes()).save_pretrained(tmp_path / "model")
    identity = describe_encoder(tmp_path / "model", dimension=5)
    cached = CachedEncoder(identity, tmp_path / "vectors")
    vectors, _ = cached.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), 5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert cached.encoder.count_tokens(["film"]) == [len(_bytes().encode("film").ids) - 2]


def test_a_table_without_its_vocabulary_is_refused(tmp_path: Path) -> None:
    StaticModel(_table(), _bytes()).save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(FeatureNotFoundError, match="no tokenizer file"):
        describe_encoder(tmp_path)


def test_another_pooling_than_the_mean_is_refused(tmp_path: Path) -> None:
    StaticModel(_table(), _bytes()).save_pretrained(tmp_path)
    with pytest.raises(SchemaError, match="expected mean, the only one"):
        describe_encoder(tmp_path, pooling="cls")
