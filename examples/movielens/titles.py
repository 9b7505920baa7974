"""Titles of films: as one says them, and as they compare."""

import re
import unicodedata


def titles_of(title: str) -> list[str]:
    """The normalised titles of a film: all of it, without what is in parentheses, and that."""
    inside = re.findall(r"\(([^()]*)\)", title)
    outside = re.sub(r"\([^()]*\)", " ", title)
    aliases = [re.sub(r"^(a\.?k\.?a\.?)\s+", "", alias, flags=re.IGNORECASE) for alias in inside]
    names = [normalise(natural_title(name.strip())) for name in (title, outside, *aliases)]
    return [name for name in dict.fromkeys(names) if name]


def natural_title(title: str) -> str:
    """The article in front: "Postino, Il (Postman, The)" is "Il Postino (The Postman)"."""
    articles = r"The|An|A|Les|Le|La|L'|Las|Los|El|Il|Lo|I|Der|Die|Das|Den|Det|De|Een|O|Os|As"

    def turn(part: re.Match[str]) -> str:
        name, article = part.groups()
        return f"{article}{name}" if article == "L'" else f"{article} {name}"

    return re.sub(rf"(?<![^(])([^()]*), ({articles})(?=\s*(?:\(|\)|$))", turn, title)


def normalise(title: str) -> str:
    """Letters and digits only, no case, no accents, "&" as "and", no leading article."""
    plain = unicodedata.normalize("NFKD", title.casefold().replace("&", " and "))
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    words = re.sub(r"[^\w]+", " ", plain.replace("'", "")).split()
    is_titled = len(words) > 1 and words[0] in ("the", "a", "an")
    return " ".join(words[1:] if is_titled else words)
