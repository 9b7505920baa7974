"""Damage to files: what a power cut, a full disk or a bad block leave."""

import random
from collections.abc import Callable

Damage = Callable[[bytes], bytes]


def emptied(_content: bytes) -> bytes:
    return b""


def halved(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    """Every bit of the 16 bytes in the middle."""
    start = max(0, len(content) // 2 - 8)
    middle = bytes(255 - byte for byte in content[start : start + 16])
    return content[:start] + middle + content[start + 16 :]


def overwritten(seed: int) -> Damage:
    """16 random bytes at a random place."""
    chance = random.Random(seed)

    def damage(content: bytes) -> bytes:
        start = chance.randrange(max(1, len(content) - 16))
        return content[:start] + chance.randbytes(16) + content[start + 16 :]

    return damage
