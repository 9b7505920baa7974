"""The source text of a transformation as the registry keeps it.

Feast executes the registered source in an empty namespace, in whichever process materialises or
serves. So the text must stand alone: it imports the function it calls, and carries the data set and
the encoder it was declared for as literals; a changed encoder is then refused, not mixed in.
"""

from collections.abc import Callable
from typing import Any

from feature_repo.context import DATASET, ENCODER, WORKSPACE

_SOURCE = """def {name}(inputs):
    from {module} import {function}

    return {function}(
        inputs,
        dataset={dataset!r},
        home={home!r},
        encoder_id={encoder_id!r},
    )
"""


def transformation(name: str, module: str, function: str) -> dict[str, Any]:
    """`udf` and `udf_string` of a view whose transformation is `module.function`."""
    source = _SOURCE.format(
        name=name,
        module=module,
        function=function,
        dataset=str(DATASET.path),
        home=str(WORKSPACE.home),
        encoder_id=ENCODER.encoder_id,
    )
    namespace: dict[str, Callable[..., Any]] = {}
    exec(source, namespace)  # our own text, as Feast itself will execute it
    return {"udf": namespace[name], "udf_string": source}
