"""How columns of text are read, by what dataset.toml says of them."""

from collections.abc import Callable

from intake.dataset import Interactions, Items, Users
from intake.event import EVENTS
from intake.tables.text_types import Role


def role_of(section: Items | Users | Interactions) -> Callable[[str], Role]:
    """The role of each column of a section, by our name.

    Of items and users, numbers are what `numeric` names; of interactions, `value` is a number, and
    ids, times and types stay text.
    """
    if isinstance(section, Interactions):
        return _role_in_interactions
    numeric = set(section.numeric)
    return lambda name: "number" if name in numeric else "text"


def _role_in_interactions(name: str) -> Role:
    if name == "value":
        return "number"
    return "text" if name in EVENTS.names or name == "created" else "any"
