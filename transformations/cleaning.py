"""Cleaning of text in any language. Pure."""

import html
import re
import string
import unicodedata
from functools import lru_cache

from intake.dataset import Cleaning

_TAG = re.compile(r"<[a-zA-Z/!?][^<>]*>")
# Only with its semicolon: "?a=1&copy=2" is no entity.
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]*);")
# Invisible characters without meaning: soft hyphen, zero-width space, directional marks, word
# joiner, byte-order mark. The zero-width joiners stay: emoji and Persian are spelt with them.
_DIRECTION_MARKS = (0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_INVISIBLE = (0xAD, 0x200B, 0x2060, 0xFEFF, *_DIRECTION_MARKS)
_MAX_NESTED_ENTITIES = 8


def clean(text: str, cleaning: Cleaning) -> str:
    """`text` in Unicode NFKC, without HTML, control characters and repeated white space.

    Optionally without punctuation, digits and stop words (whole words between white space, in any
    case). Idempotent, for text of any language; lone surrogates are dropped.
    """
    optional = bool(cleaning.punctuation or cleaning.digits or cleaning.stop_words)
    if not optional and _is_clean(text):
        return text
    stop_words = _casefolded(cleaning.stop_words)
    for _ in range(_MAX_NESTED_ENTITIES):
        cleaned = _clean_once(text, cleaning, stop_words)
        if cleaned == text:
            return text
        text = cleaned
    # Markup still nested this deep is an attack or noise: without its marks nothing can unfold.
    return _settle(text.translate({ord("<"): " ", ord("&"): " "}), cleaning, stop_words)


def _settle(text: str, cleaning: Cleaning, stop_words: frozenset[str]) -> str:
    while (cleaned := _clean_once(text, cleaning, stop_words)) != text:
        text = cleaned
    return text


def _is_clean(text: str) -> bool:
    """A fast sufficient test: most titles need nothing, and there are millions of calls."""
    return (
        text.isprintable()
        and "<" not in text
        and "&" not in text
        and "  " not in text
        and text == text.strip()
        and unicodedata.is_normalized("NFKC", text)
    )


def _clean_once(text: str, cleaning: Cleaning, stop_words: frozenset[str]) -> str:
    text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    text = _TAG.sub(" ", unicodedata.normalize("NFKC", text))
    words = text.translate(_replacements(cleaning.punctuation, cleaning.digits)).split()
    return " ".join(word for word in words if word.casefold() not in stop_words)


class _Replacements(dict[int, str]):
    """What each character becomes; filled as characters are met, so `translate` runs in C."""

    def __init__(self, punctuation: bool, digits: bool) -> None:
        super().__init__(dict.fromkeys(_INVISIBLE, ""))
        self._punctuation = punctuation
        self._digits = digits

    def __missing__(self, code: int) -> str:
        self[code] = self._replace(chr(code))
        return self[code]

    def _replace(self, character: str) -> str:
        category = unicodedata.category(character)
        if category == "Cc":
            return " "  # line breaks and tabs part words
        if category == "Cs" or (self._digits and category == "Nd"):
            return ""
        if self._punctuation and (category[0] == "P" or character in string.punctuation):
            return " "
        return character


@lru_cache(maxsize=4)
def _replacements(punctuation: bool, digits: bool) -> _Replacements:
    return _Replacements(punctuation, digits)


@lru_cache(maxsize=16)
def _casefolded(words: tuple[str, ...]) -> frozenset[str]:
    return frozenset(word.casefold() for word in words)
