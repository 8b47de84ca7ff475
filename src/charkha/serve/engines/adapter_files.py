"""The adapters of an engine on disk: `<sha256>.gguf` files that are whole, checked, and named by their content.

Boundary: bytes of unknown origin become files that llama.cpp may read. They are hashed as they come, checked by a capped
child process (`charkha.kit.weights.gguf_check`), and only then given their name.
"""

import asyncio
import hashlib
import os
import re
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import IO, Final
from uuid import uuid4

import msgspec
import structlog

from charkha.core.errors import CharkhaError, Conflict, TooLarge
from charkha.kit.process import explain
from charkha.kit.weights.files import sha256_of, sweep, sync
from charkha.kit.weights.gguf_check import MAX_ADAPTER_BYTES

log = structlog.get_logger()

_NAME: Final = re.compile(r"[0-9a-f]{64}\.gguf")
_CHECK_SECONDS: Final = 120


class Unprocessable(CharkhaError):
    """The file is not an adapter that can be served."""

    status, code, exit_code = 422, "invalid_adapter", 2


class _Verdict(msgspec.Struct):
    ok: bool
    reason: str = ""
    wrong_base: bool = False


class AdapterFiles:
    """The adapter files in `directory` for the model in the file `base`, which adapters may name by `base_hash`."""

    def __init__(self, directory: Path, base: Path, base_hash: str) -> None:
        self._directory, self._base, self._base_hash = directory, base, base_hash

    async def scan(self) -> dict[str, Path]:
        """Every sound adapter by its hash. One that is not is renamed to `*.corrupt`, logged and left out."""
        sweep(self._directory)
        files = sorted(file for file in self._directory.iterdir() if _NAME.fullmatch(file.name))
        changed = [file for file in files if await asyncio.to_thread(sha256_of, file) != file.stem]
        for file in changed:
            _set_aside(file, "its content is not what its name says")
        files = [file for file in files if file not in changed]
        verdicts = await self._check_all(files)
        for file, verdict in zip(files, verdicts, strict=True):
            if not verdict.ok:
                _set_aside(file, verdict.reason)
        return {file.stem: file for file, verdict in zip(files, verdicts, strict=True) if verdict.ok}

    async def receive(self, digest: str, chunks: AsyncIterator[bytes]) -> Path:
        """Take in an adapter whose SHA-256 is to be `digest`; returns its file.

        Raises TooLarge, Unprocessable with the reason, Conflict for an adapter of another base model, OSError if the
        disk fails. What is refused leaves nothing behind.
        """
        temporary = self._directory / f".{digest}.{uuid4().hex}.partial"
        try:
            with temporary.open("wb") as file:
                received = await _write(file, chunks)
            if received != digest:
                remedy = "Send the very bytes that were hashed."
                raise Unprocessable(f"The content's SHA-256 is {received}, not {digest}.", remedy=remedy)
            _raise_unless_ok((await self._check_all([temporary]))[0])
            return await asyncio.to_thread(self._admit, temporary, digest)
        finally:
            temporary.unlink(missing_ok=True)

    def remove(self, digest: str) -> None:
        """Delete the adapter's file; it may be gone already."""
        (self._directory / f"{digest}.gguf").unlink(missing_ok=True)
        sync(self._directory)

    def _admit(self, temporary: Path, digest: str) -> Path:
        target = self._directory / f"{digest}.gguf"
        sync(temporary)
        temporary.replace(target)
        sync(self._directory)
        return target

    async def _check_all(self, files: Sequence[Path]) -> list[_Verdict]:
        """A verdict per file. One child checks all; if it does not live through that, each file gets its own."""
        if not files:
            return []
        verdicts = await self._run_check(files)
        if len(verdicts) == len(files):
            return verdicts
        if len(files) == 1:
            return [_Verdict(ok=False, reason="the process that checked it did not live through it")]
        return [(await self._check_all([file]))[0] for file in files]

    async def _run_check(self, files: Sequence[Path]) -> list[_Verdict]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "charkha.kit.weights.gguf_check", str(self._base)),
            *("--base-hash", self._base_hash, *map(str, files)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )
        try:
            output, errors = await asyncio.wait_for(process.communicate(), _CHECK_SECONDS + len(files))
        except TimeoutError:
            log.warning("adapter_check_too_slow", files=len(files))
            return []
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode not in (0, 1):
            how = explain(process.returncode or 0)
            log.warning("adapter_check_died", how=how, stderr=errors[-2000:].decode(errors="replace"))
        return [msgspec.json.decode(line, type=_Verdict) for line in output.splitlines()]


async def _write(file: IO[bytes], chunks: AsyncIterator[bytes]) -> str:
    size, digest = 0, hashlib.sha256()
    async for chunk in chunks:
        size += len(chunk)
        if size > MAX_ADAPTER_BYTES:
            raise TooLarge(f"An adapter may have {MAX_ADAPTER_BYTES} bytes.", remedy="Use a smaller rank, or F16.")
        digest.update(chunk)
        await asyncio.to_thread(file.write, chunk)
    return digest.hexdigest()


def _raise_unless_ok(verdict: _Verdict) -> None:
    if verdict.ok:
        return
    message = f"The adapter is refused: {verdict.reason}."
    if verdict.wrong_base:
        raise Conflict(message, remedy="Train it on the model that this engine serves.", code="adapter_of_another_base")
    raise Unprocessable(message, remedy="Convert it again from its source.")


def _set_aside(file: Path, reason: str) -> None:
    log.error("adapter_corrupt", file=file.name, reason=reason)
    file.replace(file.with_suffix(".corrupt"))
