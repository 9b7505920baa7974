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
        {identities},
    )
"""


def transformation(function: Callable[..., Any], **model_ids: str) -> dict[str, Any]:
    """`udf` and `udf_string` of a view whose transformation is `function`, of any package.

    Parameters
    ----------
    model_ids : the models that it was declared for, as arguments of `function`; the encoder alone
        if none is given
    """
    declared = model_ids or {"encoder_id": ENCODER.encoder_id}
    source = _SOURCE.format(
        module=function.__module__,
        function=function.__name__,
        dataset=str(DATASET.path),
        home=str(WORKSPACE.home),
        identities=", ".join(f"{name}={each!r}" for name, each in declared.items()),
    )
    namespace: dict[str, Callable[..., Any]] = {}
    exec(source, namespace)  # our own text, as Feast itself will execute it
    return {"udf": namespace[function.__name__], "udf_string": source}
