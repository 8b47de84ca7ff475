"""Writes the synchronous client from the asynchronous one, so that both are one text. `--check` only compares."""

import re
import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).parent.parent / "src" / "charkha" / "client"
RULES = [
    (r"async def", "def"),
    (r"async with", "with"),
    (r"async for", "for"),
    (r"await ", ""),
    (r"asyncio\.sleep", "time.sleep"),
    (r"import asyncio", "import time"),
    (r"AsyncCharkha", "Charkha"),
    (r"AsyncClient", "Client"),
    (r"AsyncIterator", "Iterator"),
    (r"__aenter__", "__enter__"),
    (r"__aexit__", "__exit__"),
    (r"aclose", "close"),
    (r"aiter_lines", "iter_lines"),
    (r"aread", "read"),
    (r"\b_async\b", "_sync"),
    (r"asynchronous", "synchronous"),
]


def synchronous(text: str) -> str:
    """The synchronous form of an asynchronous module."""
    for pattern, replacement in RULES:
        text = re.sub(pattern, replacement, text)
    return f"# Written by scripts/unasync.py from the asynchronous module beside it; do not edit.\n{text}"


def main() -> int:
    """Write (or compare) every pair; the number of differing files is the exit status."""
    differing = 0
    for source in sorted((CLIENT / "_async").glob("*.py")):
        target = CLIENT / "_sync" / source.name
        ruff = [sys.executable, "-m", "ruff", "format", "--quiet", "--stdin-filename", str(target), "-"]
        text = subprocess.run(
            ruff, input=synchronous(source.read_text()), capture_output=True, text=True, check=True
        ).stdout
        if target.exists() and target.read_text() == text:
            continue
        if "--check" in sys.argv:
            print(f"{target.name} is not what scripts/unasync.py makes of it: run `make fix`")
            differing += 1
        else:
            target.parent.mkdir(exist_ok=True)
            target.write_text(text)
    return differing


if __name__ == "__main__":
    sys.exit(main())
