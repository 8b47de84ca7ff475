"""Static assets: our own, and two libraries out of installed packages, each under a name that changes with its content.

Boundary: the only reader of asset files. The libraries are not copied into this project; they come from the package
index like every other dependency, and are served only if they are byte for byte what their authors released.
"""

import gzip
import hashlib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from charkha.core.errors import Misconfigured

STATIC = Path(__file__).parent / "static"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class Library:
    """A file of an installed package. `sha256` is that of its author's release."""

    package: str
    path: str
    sha256: str


LIBRARIES = {
    "htmx.js": Library(  # htmx 2.0.10
        "django-htmx",
        "django_htmx/static/django_htmx/htmx-2.min.js",
        "71ea67185bfa8c98c39d31717c6fce5d852370fcdfd129db4543774d3145c0de",
    ),
    "uplot.js": Library(  # uPlot 1.6.31
        "youplot",
        "youplot/vendor/uplot.iife.min.js",
        "2d27e8ad3d228164525ce213f9dc716f39b4e3aee0cc773fb3491c96cf4921a2",
    ),
    "uplot.css": Library(
        "youplot",
        "youplot/vendor/uplot.min.css",
        "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    ),
}


@dataclass(frozen=True)
class Asset:
    """One file as it is served: its bytes, plain and compressed, and the hash that its address carries."""

    name: str
    media_type: str
    plain: bytes
    compressed: bytes
    version: str


class Assets:
    """Every asset, read and compressed once."""

    def __init__(self) -> None:
        files = {path.name: path.read_bytes() for path in STATIC.iterdir() if path.suffix in _TYPES}
        files |= {name: _library(library) for name, library in LIBRARIES.items()}
        self._assets = {name: _asset(name, content) for name, content in files.items()}

    def url(self, name: str) -> str:
        """Where a page finds an asset; the address changes with the content, so it may be kept for ever."""
        return f"/console/static/{self._assets[name].version}/{name}"

    def find(self, version: str, name: str) -> Asset | None:
        """The asset of an address, or None."""
        asset = self._assets.get(name)
        return asset if asset and asset.version == version else None


def _asset(name: str, content: bytes) -> Asset:
    version = hashlib.sha256(content).hexdigest()[:12]
    return Asset(name, _TYPES[Path(name).suffix], content, gzip.compress(content, 9, mtime=0), version)


def _library(library: Library) -> bytes:
    try:
        content = Path(str(distribution(library.package).locate_file(library.path))).read_bytes()
    except (PackageNotFoundError, FileNotFoundError) as error:
        raise Misconfigured(
            f"The console needs {library.path} of the package {library.package}.",
            remedy="Run `make install`, or: pip install --no-deps django-htmx==1.29.0 youplot==1.0.0",
        ) from error
    if hashlib.sha256(content).hexdigest() != library.sha256:
        raise Misconfigured(
            f"{library.path} of the package {library.package} is not what its authors released.",
            remedy="Install the pinned version again; if this stays, do not trust the package index.",
        )
    return content
