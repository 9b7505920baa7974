"""Feast's own command, started in a third of the time: `python -m feast_fusion.feast_command`.

Feast has typeguard check the arguments of its classes, and typeguard parses and compiles these
anew in each process: 2.6 of the 5.4 seconds of CPU that `import feast` takes. It imports torch for
answers as tensors, which nobody may ask for: 2 seconds more. And a fifth of what imports take goes
into looking for cycles among what they make, every 700 objects, though all of it stays.
"""

import gc
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

import typeguard

from feast_fusion.errors import FeastFusionError

# More saves little more of an import, and would leave large cycles in memory.
_COLLECTED_AT_ONCE = 10_000


def import_lightly() -> None:
    """Make the imports that follow cheaper, those of Feast above all.

    Feast then checks no types of arguments, and imports torch where it makes tensors, no earlier.
    Python looks for cycles less often.
    """
    gc.set_threshold(_COLLECTED_AT_ONCE, *gc.get_threshold()[1:])
    typeguard.typechecked = _unchecked
    wrapper = ModuleType("feast.torch_wrapper")
    vars(wrapper)["get_torch"] = lambda: import_module("torch")
    sys.modules[wrapper.__name__] = wrapper


def _unchecked(target: Any = None, **_options: Any) -> Any:
    return _unchecked if target is None else target


def main() -> None:
    """Feast's command line; an error of ours is one line, and what was noted of it."""
    import_lightly()
    from feast.cli.cli import cli

    try:
        cli()
    except FeastFusionError as error:
        notes = getattr(error, "__notes__", [])
        sys.exit("\n".join([f"Error: {error}", *notes]))


if __name__ == "__main__":
    main()
