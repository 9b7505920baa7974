"""The prompt about one text. Pure."""

from feast_fusion.writing.attributes import Attributes


def render_prompt(template: str, attributes: Attributes, text: str, max_characters: int) -> str:
    """The prompt with the attributes' description and the text, cut at so many characters."""
    cut = text[:max_characters]
    return template.replace("{attributes}", attributes.describe()).replace("{text}", cut)
