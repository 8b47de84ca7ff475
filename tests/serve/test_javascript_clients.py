"""Both vendors' official JavaScript clients, unmodified, against the gateway; the scripts are in `clients/`.

The packages are installed once, as `clients/package-lock.json` names them, into a cache directory outside the
repository. Without Node.js the tests are skipped; where npm cannot install, too, but not in CI.
"""

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from charkha.serve.ports import Engine

from .conftest import LLAMA, Rig

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]
CLIENTS = Path(__file__).parent / "clients"
CALLS = [
    {"id": f"call_{city}", "type": "function", "function": {"name": "weather", "arguments": f'{{"city": "{city}"}}'}}
    for city in ("Paris", "Pune")
]
CALLED = [["call_Paris", {"city": "Paris"}], ["call_Pune", {"city": "Pune"}]]


@pytest.fixture(scope="module")
def packages() -> Path:
    """The directory with the scripts and the packages that they need."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("there is no Node.js with npm on this machine")
    lock = (CLIENTS / "package-lock.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "charkha-tests"
    home = cache / f"npm-{hashlib.sha256(lock).hexdigest()[:16]}"
    home.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not (home / "installed").exists():
            _install(home)
    for script in CLIENTS.glob("*.mjs"):
        shutil.copy(script, home)
    return home


def _install(home: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(CLIENTS / name, home)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=240, check=True)
    except subprocess.SubprocessError as error:
        reason = f"npm cannot install: {error} {getattr(error, 'stderr', '')}"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    (home / "installed").touch()


async def run(packages: Path, script: str, rig: Rig, model: str, *, tools: bool) -> dict[str, Any]:
    """What a script was told by the gateway."""
    variables = {"BASE_URL": rig.url.removesuffix("/v1"), "API_KEY": rig.key, "MODEL": model}
    process = await asyncio.create_subprocess_exec(
        *("node", script),
        cwd=packages,
        env={"PATH": os.environ["PATH"], **variables, **({"TOOLS": "1"} if tools else {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    told: dict[str, Any] = json.loads(output)
    return told


async def test_openais_client(packages: Path, rig: Rig) -> None:
    await rig.endpoint()
    rig.model.script = [{"content": f"answer {number}"} for number in range(4)] + [{"tool_calls": CALLS}]
    told = await run(packages, "openai.mjs", rig, "support", tools=True)
    assert [told[name] for name in ("whole", "streamed", "response", "responseStreamed")] == [
        f"answer {number}" for number in range(4)
    ]
    assert told["usage"] == told["streamedUsage"] == 3
    assert told["lastEvent"] == "response.completed"
    assert told["models"] == ["support", "tiny"]
    assert told["calls"] == CALLED
    assert told["error"] == ["NotFoundError", 404, "model_not_found", True]
    assert [record.status for record in rig.records()[1]] == [200] * 5


async def test_anthropics_client(packages: Path, rig: Rig) -> None:
    await rig.endpoint()
    rig.model.script = [{"content": "answer 0"}, {"content": "answer 1"}, {"tool_calls": CALLS}]
    told = await run(packages, "anthropic.mjs", rig, "support", tools=True)
    assert (told["whole"], told["streamed"], told["pieces"]) == ("answer 0", "answer 1", "answer 1")
    assert told["usage"] == told["streamedUsage"] == 3
    assert told["stopReason"] == "end_turn"
    assert told["counted"] > 0
    assert told["models"] == ["support", "tiny"]
    assert told["calls"] == CALLED
    assert told["error"] == ["NotFoundError", 404, "not_found_error", True]
    assert [record.status for record in rig.records()[1]] == [200] * 3


class TestOnAModel:
    """The same clients before a real llama.cpp with a miniature model."""

    @pytest.fixture
    def others(self, llama: dict[str, Engine]) -> dict[str, Engine]:
        return llama

    @pytest.mark.parametrize("script", ["openai.mjs", "anthropic.mjs"])
    async def test_whole_and_streamed_are_the_same(self, packages: Path, rig: Rig, script: str) -> None:
        told = await run(packages, script, rig, LLAMA, tools=False)
        assert told["whole"] == told["streamed"]
        assert told.get("response") == told.get("responseStreamed")
        assert told["usage"] == told["streamedUsage"] > 0
