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


def on_demand(function: Callable[..., Any], row: dict[str, Any]) -> dict[str, Any]:
    """`transformation` of an on-demand view, with what Feast tries while it applies.

    Feast calls the declared object on texts of its own, to see types; everybody else, this process
    included, calls what the registry keeps: the source. So the object need not load a model.

    Parameters
    ----------
    row : what the declared object gives for every row, of the types that `function` gives
    """

    def made_up(inputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
        n_rows = len(next(iter(inputs.values())))
        return {name: [value] * n_rows for name, value in row.items()}

    made_up.__name__ = function.__name__  # the registry finds the function of the source by it
    return transformation(function) | {"udf": made_up}
