"""Where an encoder computes, as the user names it."""

import torch

from feast_fusion.errors import schema_error

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def chosen_device(device: str | torch.device | None) -> torch.device:
    """The device named, else CUDA where there is one, else the CPU.

    Raises
    ------
    SchemaError
        There is no such device.
    """
    try:
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError:
        raise _no_device(device) from None
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise _no_device(device)
    return chosen


def chosen_dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    """The numbers named; None where they are not.

    Raises
    ------
    SchemaError
        There are no such numbers.
    """
    if dtype is None or isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in _DTYPES:
        raise schema_error(
            "[encoder] dtype",
            got=dtype,
            expected=f"one of {', '.join(_DTYPES)}",
            remedy="Correct it, or leave it out to have the fastest that is precise enough.",
        )
    return _DTYPES[dtype]


def _no_device(device: object) -> Exception:
    known = ["cpu", *(f"cuda:{n}" for n in range(torch.cuda.device_count()))]
    return schema_error(
        "[encoder] device",
        got=device,
        expected=f"one of {', '.join(known)}",
        remedy="Correct it, or leave it out to have the fastest there is.",
    )
