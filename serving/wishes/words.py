"""Words of texts and queries as they are compared: without case, accents and endings."""

import re
import unicodedata
from dataclasses import dataclass

import Stemmer
from bm25s.stopwords import STOPWORDS_EN_PLUS

# Of what is written without spaces (Chinese, Japanese) each sign is a word of its own.
_SIGN = r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
_WORD = re.compile(rf"{_SIGN}|(?:(?!{_SIGN})\w)+")
_POSSESSIVE = re.compile(r"['\u2019]s\b")

# Words that lead to a name, those that mean the same together: the text template of a data set has
# one before a column, as in "Directed by {director}", and a query any of them.
LEADS = (
    frozenset(("by", "directed", "director", "written", "writer", "author", "made")),
    frozenset(("with", "starring", "starred", "stars", "cast", "featuring", "actor", "actress")),
)
# They say that something is asked for, and not what.
_REQUESTS = (
    "us something anything everything thing things stuff every please show give find get want "
    "wants wanted would like likes recommend suggest looking look watch see read buy try need "
    "prefer could one ones good great nice best kind kinds sort type about"
)
# So do these, which say what kind of thing all items are. A category of such a name is still found.
_KINDS = (
    "film films movie movies picture pictures title titles item items product products article "
    "articles story stories book books song songs track tracks game games"
)
# What a word stands for where categories are called so, by its stem: of whom it is for, and of what
# many refuse, an encoder knows too little. The one list of its kind; others are meant, see
# `meanings`.
_VIOLENCE = ("action", "war", "crime", "horror", "thriller")
_CHILDREN = ("children", "kids", "family")
STANDS_FOR = {
    **dict.fromkeys(("violent", "violenc", "brutal", "bloodi", "gori"), _VIOLENCE),
    **dict.fromkeys(("famili", "kid", "child", "children", "toddler"), _CHILDREN),
}
KINDS = frozenset(_KINDS.split())
STOP_WORDS = frozenset(STOPWORDS_EN_PLUS).union(_REQUESTS.split(), *LEADS)


@dataclass(frozen=True)
class Word:
    """One word: as it is written, and without its ending."""

    plain: str
    stem: str

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing of what is asked for."""
        return self.plain in STOP_WORDS or self.plain in KINDS


def plain_words(text: str) -> list[str]:
    """Without case, accents and possessive s.

    Examples
    --------
    >>> plain_words("Children's Sci-Fi, 科幻")
    ['children', 'sci', 'fi', '科', '幻']
    """
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    kept = "".join(each for each in decomposed if not unicodedata.combining(each))
    return _WORD.findall(_POSSESSIVE.sub("", unicodedata.normalize("NFKC", kept)))


def stem_of(word: str) -> str:
    """A word without its English ending; one of another language mostly as it is.

    Examples
    --------
    >>> stem_of("comedies") == stem_of("comedy")
    True
    """
    # A stemmer is not for several threads, and making one costs less than a microsecond.
    stem: str = Stemmer.Stemmer("english", 0).stemWord(word)
    return stem


def words_of(text: str) -> list[Word]:
    """The words of a text, in order."""
    return [Word(plain, stem_of(plain)) for plain in plain_words(text)]
