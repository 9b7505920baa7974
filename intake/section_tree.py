"""Which sections a dataset.toml can have, from the models themselves."""

from collections.abc import Iterator, Sequence
from typing import Any, get_args, get_origin

from intake.dataset import Dataset
from intake.model_settings import Section

NAMED = "<name>"  # a section under a name of the user's own, as in [interactions.types.<name>]


def sections(
    model: type[Section] = Dataset, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], type[Section]]]:
    """Each section that `model` can have, itself first, and its path."""
    yield path, model
    for name, field in model.model_fields.items():
        inner, is_named = section_in(field.annotation)
        if inner is not None:
            yield from sections(inner, (*path, name, *([NAMED] if is_named else [])))


def section_at(path: Sequence[str]) -> type[Section]:
    """The model of the section at a path, such as ("interactions", "types", "view")."""
    for known, model in sections():
        if len(known) == len(path) and all(
            a in (b, NAMED) for a, b in zip(known, path, strict=True)
        ):
            return model
    raise LookupError(f"no section {'.'.join(path)}")


def section_in(annotation: Any) -> tuple[type[Section] | None, bool]:
    """The section that a field holds, and whether it holds one per name."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation, False
    is_named = get_origin(annotation) is dict
    for inner in get_args(annotation):
        found, inner_named = section_in(inner)
        if found is not None:
            return found, is_named or inner_named
    return None, False
