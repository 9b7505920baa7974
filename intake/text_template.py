"""The text of an item as dataset.toml describes it: literals, and columns in braces."""

import re
from collections.abc import Iterable

# A name of a column is anything but braces: `{title}`, `{product group.name}`, `{brand-name}`.
PLACEHOLDER = re.compile(r"\{([^{}]+)\}")


def placeholders(template: str) -> tuple[str, ...]:
    """The columns that a template names, in order of first use.

    Examples
    --------
    >>> placeholders("{title} ({brand-name}). {title}")
    ('title', 'brand-name')
    """
    return tuple(dict.fromkeys(PLACEHOLDER.findall(template)))


def words_before(template: str) -> dict[str, str]:
    """By column the literal text between it and the placeholder before it.

    Examples
    --------
    >>> words_before("{title}. Directed by {director}.")
    {'title': '', 'director': '. Directed by '}
    """
    literals = PLACEHOLDER.split(template)
    return dict(zip(literals[1::2], literals[::2], strict=False))


def require_whole_braces(template: str) -> str:
    """The template itself.

    Raises
    ------
    ValueError
        A brace is left over that no placeholder has, or one has no name.
    """
    rest = PLACEHOLDER.sub("", template)
    if "{" in rest or "}" in rest:
        raise ValueError("a brace stands alone; name each column as {title}, and use no other { }")
    return template


def formatted_columns(missing: Iterable[str], present: Iterable[str]) -> dict[str, str]:
    """Of `missing` placeholders, those with a format or conversion: their column.

    Examples
    --------
    >>> formatted_columns(["price:.2f", "brand"], ["price"])
    {'price:.2f': 'price'}
    """
    known = set(present)
    bare = {name: re.split(r"[:!]", name, maxsplit=1)[0].strip() for name in missing}
    return {name: column for name, column in bare.items() if column in known}
