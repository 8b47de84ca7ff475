"""What `make run` installs is enough to run: nothing of the extra `dev` is needed by accident."""

import os
import subprocess
import sys
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from charkha.serve.engines.models import find_model
from charkha.testing.tiny import make_tiny_gguf

RUNTIME = {"engine", "train"}
ASSETS = ("django-htmx", "youplot")
"""Installed without their dependencies: the console serves files of theirs, and imports neither."""

CONVERT = """
import sys
from pathlib import Path
import charkha.app.cli, charkha.app.worker, charkha.learn.recipes.sft, charkha.serve.engines.llama_cpp
import charkha.app.serving, charkha.console.site
from charkha.console.assets import Assets
from charkha.kit.weights.hf import hf_directory
print(hf_directory(Path(sys.argv[1]), Path(sys.argv[2])))
Assets()
for absent in ("pytest", "peft", "playwright", "django"):
    try:
        __import__(absent)
    except ImportError:
        continue
    raise SystemExit(f"{absent} could be imported: this test sees more than a user has")
"""


def closure(name: str, extras: set[str]) -> dict[str, Distribution]:
    """The installed distributions that `name[extras]` asks for, itself included, by their canonical names."""
    found: dict[str, Distribution] = {}
    waiting = [(name, frozenset(extras))]
    seen = set(waiting)
    while waiting:
        wanted, its_extras = waiting.pop()
        found[canonicalize_name(wanted)] = package = distribution(wanted)
        for requirement in map(Requirement, package.requires or []):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in its_extras | {""}):
                entry = (requirement.name, frozenset(requirement.extras))
                if entry not in seen:
                    seen.add(entry)
                    waiting.append(entry)
    return found


def link_packages(packages: dict[str, Distribution], site: Path) -> None:
    """Fill `site` with links to what `packages` put at the top of site-packages."""
    for package in packages.values():
        tops = {file.parts[0] for file in package.files or [] if file.parts[0] not in {"..", "__pycache__"}}
        for top in tops:
            link = site / top
            if not link.exists():
                link.symlink_to(Path(str(package.locate_file(top))))


def test_the_runtime_extras_are_enough_to_import_everything_and_to_convert_a_model(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    link_packages(closure("charkha", RUNTIME) | {name: distribution(name) for name in ASSETS}, site)
    model = make_tiny_gguf(tmp_path / "tiny.gguf", find_model(None, tmp_path).path)
    source = Path(__file__).parents[2] / "src"
    result = subprocess.run(
        [sys.executable, "-S", "-c", CONVERT, str(model), str(tmp_path / "models")],
        env={"PYTHONPATH": f"{site}{os.pathsep}{source}", "PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert (Path(result.stdout.strip()) / "model.safetensors").exists()
