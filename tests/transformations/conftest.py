"""The models of the encoder's own tests."""

from tests.feast_fusion.encoding.conftest import minilm, save_decoder

__all__ = ["minilm", "save_decoder"]
