"""The page of every key says what the models say."""

from intake.key_reference import PAGE, descriptions, render_reference
from intake.section_tree import section_in, sections


def test_the_page_is_that_of_the_models() -> None:
    assert PAGE.read_text(encoding="utf-8") == render_reference(), (
        "make it again: python -m intake.key_reference"
    )


def test_every_key_has_a_meaning_and_stands_on_the_page() -> None:
    page = render_reference()
    for path, model in sections():
        for name, field in model.model_fields.items():
            if section_in(field.annotation)[0] is None and (path, name) != ((), "path"):
                assert descriptions(model).get(name), (path, name)
                assert f"| `{name}` |" in page
