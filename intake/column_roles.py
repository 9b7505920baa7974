"""How columns of text are read, by what dataset.toml says of them."""

from collections.abc import Callable
from functools import partial

from intake.dataset import Interactions
from intake.event import EVENTS
from intake.tables.text_types import Role
from intake.versioned_tables import Items, Users


def role_of(section: Items | Users | Interactions) -> Callable[[str], Role]:
    """The role of each column of a section, by our name.

    Of items and users, numbers are what `numeric` names; of interactions, `value` and what
    `numeric` of their context names; ids, times, types and categories stay text.
    """
    if isinstance(section, Interactions):
        context = section.context
        return partial(_role_in_interactions, {*context.numeric}, {*context.categorical})
    numeric = set(section.numeric)
    return lambda name: "number" if name in numeric else "text"


def _role_in_interactions(numeric: set[str], categorical: set[str], name: str) -> Role:
    if name == "value" or name in numeric:
        return "number"
    is_text = name in EVENTS.names or name == "created" or name in categorical
    return "text" if is_text else "any"
