"""Feast's own command, started in half the time: `python -m feast_fusion.feast_command apply`.

Feast has typeguard check the arguments of its classes, and typeguard parses and compiles these
anew in each process: 2.6 of the 5.4 seconds of CPU that `import feast` takes.
"""

from typing import Any

import typeguard


def _unchecked(target: Any = None, **_options: Any) -> Any:
    return _unchecked if target is None else target


def leave_out_type_checks() -> None:
    """Make typeguard's decorator do nothing in this process, for what is imported from now on."""
    typeguard.typechecked = _unchecked


def main() -> None:
    """Feast's command line."""
    leave_out_type_checks()
    from feast.cli.cli import cli

    cli()


if __name__ == "__main__":
    main()
