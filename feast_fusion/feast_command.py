"""Feast's own command, started in a third of the time: `python -m feast_fusion.feast_command`.

Feast has typeguard check the arguments of its classes, and typeguard parses and compiles these
anew in each process: 2.6 of the 5.4 seconds of CPU that `import feast` takes. It imports torch for
answers as tensors, which nobody may ask for: 2 seconds more.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

import typeguard

from feast_fusion.errors import FeastFusionError


def _unchecked(target: Any = None, **_options: Any) -> Any:
    return _unchecked if target is None else target


def leave_out_type_checks() -> None:
    """Make typeguard's decorator do nothing in this process, for what is imported from now on."""
    typeguard.typechecked = _unchecked


def import_torch_when_asked() -> None:
    """Make Feast import torch where it makes tensors, no earlier."""
    wrapper = ModuleType("feast.torch_wrapper")
    vars(wrapper)["get_torch"] = lambda: import_module("torch")
    sys.modules[wrapper.__name__] = wrapper


def main() -> None:
    """Feast's command line; an error of ours is one line, and what was noted of it."""
    leave_out_type_checks()
    import_torch_when_asked()
    from feast.cli.cli import cli

    try:
        cli()
    except FeastFusionError as error:
        notes = getattr(error, "__notes__", [])
        sys.exit("\n".join([f"Error: {error}", *notes]))


if __name__ == "__main__":
    main()
