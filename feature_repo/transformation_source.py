"""The source text of a transformation as the registry keeps it.

Feast executes the registered source in an empty namespace, in whichever process materialises or
serves. So the text imports the function that it calls. It carries the data set and the encoder that
it was declared for as literals: a changed encoder is then refused, not mixed in.
"""

from collections.abc import Callable
from typing import Any

from feature_repo.declared_dataset import DATASET, ENCODER, WORKSPACE

_SOURCE = """def {function}(inputs):
    from {module} import {function} as transform

    return transform(
        inputs,
        dataset={dataset!r},
        home={home!r},
        {identity},
    )
"""


def transformation(
    function: Callable[..., Any], identity: str = f"encoder_id={ENCODER.encoder_id!r}"
) -> dict[str, Any]:
    """`udf` and `udf_string` of a view whose transformation is `function`, of any package.

    Parameters
    ----------
    identity : the literal of the model that it was declared for, as an argument of `function`
    """
    source = _SOURCE.format(
        module=function.__module__,
        function=function.__name__,
        dataset=str(DATASET.path),
        home=str(WORKSPACE.home),
        identity=identity,
    )
    namespace: dict[str, Callable[..., Any]] = {}
    exec(source, namespace)  # our own text, as Feast itself will execute it
    return {"udf": namespace[function.__name__], "udf_string": source}
