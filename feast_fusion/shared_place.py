"""A place that several machines reach: a folder that they mount, or an object store."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from feast_fusion.errors import FeastFusionError, StoreUnavailableError
from feast_fusion.parquet.location import file_system_of


def open_place(place: str) -> tuple[fs.FileSystem, str]:
    """The file system of a place, and the path there; call it within `reached`."""
    filesystem, root = file_system_of(place)
    if isinstance(filesystem, fs.LocalFileSystem) and not Path(root).is_dir():
        # A mount that is absent is not made up.
        raise FileNotFoundError(f"no folder {Path(root).absolute()}")
    return filesystem, root.rstrip("/")


@contextmanager
def reached(place: str, what: str, variable: str) -> Iterator[None]:
    """Turns what a file system raises into a `StoreUnavailableError` about the place.

    Parameters
    ----------
    what : lies there, in the plural
    variable : of the environment, which names the place
    """
    try:
        yield
    except FeastFusionError:
        raise
    except (OSError, pa.ArrowInvalid) as error:
        raise StoreUnavailableError(
            f"{place}: got {error}, expected a folder or an object store for {what} of several "
            f"machines. Make or mount it, correct {variable} or the credentials, or unset it, "
            "then run the same command again: what is done is kept."
        ) from error
