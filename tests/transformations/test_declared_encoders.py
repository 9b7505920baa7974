"""An encoder is what it computes, wherever dataset.toml declares it."""

from pathlib import Path

import pytest

from feast_fusion.errors import EncoderMismatchError, SchemaError
from intake.dataset_file import load_dataset
from tests.candidate import declare, save_tiny
from tests.datasets import make_films
from transformations.declared_encoders import find_encoder, identify_every


@pytest.fixture
def description(tmp_path: Path) -> Path:
    path = make_films(tmp_path / "films", n_events=10)
    save_tiny(path.parent / "tiny")
    return path


def test_it_has_one_identity_as_a_candidate_and_as_the_main_one(description: Path) -> None:
    declare(description, "tiny", "tiny", max_tokens=32)
    main, candidate = [each.encoder_id for _, each in identify_every(load_dataset(description))]
    text = description.read_text().partition("[encoder]")[0]
    description.write_text(f'{text}[encoder]\nmodel = "tiny"\nmax_tokens = 32\n')
    declare(description, "former", "sentence-transformers/all-MiniLM-L6-v2", max_tokens=64)
    changed = load_dataset(description)
    assert [each.encoder_id for _, each in identify_every(changed)] == [candidate, main]
    settings, identity = find_encoder(changed, main)
    assert settings.max_tokens == 64 and identity.dimension == 384


def test_one_that_nobody_declares_is_refused_with_those_that_are(description: Path) -> None:
    declare(description, "tiny", "tiny")
    dataset = load_dataset(description)
    known = [each.encoder_id for _, each in identify_every(dataset)]
    with pytest.raises(EncoderMismatchError, match=" and ".join(known)):
        find_encoder(dataset, "another_1a2b")


def test_a_wrong_key_of_a_candidate_is_named_with_its_section(description: Path) -> None:
    declare(description, "tiny", "tiny", modle=1)
    with pytest.raises(SchemaError, match=r"\[encoder\.candidates\.tiny\] modle"):
        load_dataset(description)
