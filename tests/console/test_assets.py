"""Static files: their address changes with their content, and a library that was tampered with is not served."""

import gzip
import hashlib
import shutil
from importlib.metadata import distribution
from pathlib import Path

import pytest

from charkha.console import assets
from charkha.console.assets import LIBRARIES, STATIC, Assets
from charkha.core.errors import Misconfigured
from tests.console.reading import parse
from tests.console.world import World


def test_an_address_carries_the_hash_of_its_content() -> None:
    served = Assets()
    for path in STATIC.iterdir():
        version = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        assert served.url(path.name) == f"/console/static/{version}/{path.name}"
        found = served.find(version, path.name)
        assert found is not None
        assert found.plain == path.read_bytes()
        assert gzip.decompress(found.compressed) == found.plain


def test_an_old_address_and_a_wrong_name_lead_nowhere() -> None:
    served = Assets()
    version = served.url("console.css").split("/")[3]
    assert served.find("0" * 12, "console.css") is None
    assert served.find(version, "console.js") is None
    assert served.find(version, "../assets.py") is None


@pytest.mark.parametrize("name", LIBRARIES)
def test_the_libraries_are_what_their_authors_released(name: str) -> None:
    library = LIBRARIES[name]
    content = Path(str(distribution(library.package).locate_file(library.path))).read_bytes()
    assert hashlib.sha256(content).hexdigest() == library.sha256


def test_a_changed_library_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    library = LIBRARIES["htmx.js"]
    copy = tmp_path / library.path
    copy.parent.mkdir(parents=True)
    shutil.copy(str(distribution(library.package).locate_file(library.path)), copy)
    monkeypatch.setattr(assets, "distribution", lambda _: _Elsewhere(tmp_path))
    assert assets._library(library) == copy.read_bytes()
    copy.write_bytes(copy.read_bytes() + b" ")
    with pytest.raises(Misconfigured, match="not what its authors released"):
        assets._library(library)
    copy.unlink()
    with pytest.raises(Misconfigured, match="needs") as missing:
        assets._library(library)
    assert "pip install --no-deps django-htmx" in str(missing.value.remedy)


class _Elsewhere:
    """A distribution whose files lie in another directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def locate_file(self, path: str) -> Path:
        return self._directory / path


@pytest.mark.anyio
async def test_assets_are_kept_for_ever_and_travel_compressed(world: World) -> None:
    page = parse((await world.http().get("/console/sign-in")).text)
    addresses = [node.attrs["href"] for node in page.find_all("link")]
    addresses += [node.attrs["src"] for node in page.find_all("script")]
    assert len(addresses) >= 4
    for address in addresses:
        plain = await world.http(headers={"accept-encoding": "identity"}).get(address)
        packed = await world.http(headers={"accept-encoding": "gzip"}).get(address)
        assert plain.status_code == packed.status_code == 200
        assert "immutable" in plain.headers["cache-control"]
        assert (plain.headers["x-content-type-options"], plain.headers["vary"]) == ("nosniff", "accept-encoding")
        assert packed.headers["content-encoding"] == "gzip"
        assert "content-encoding" not in plain.headers
        assert int(packed.headers["content-length"]) < len(plain.content)
        assert packed.content == plain.content
    gone = await world.http().get(addresses[0].replace("/static/", "/static/0"))
    assert gone.status_code == 404
