"""Patterns and schemas that people wrote, tried on an answer in a process of its own that may take two seconds.

Boundary: nothing else searches with a pattern or validates with a schema that came over the network. Both can be made to
take for ever, and neither can be interrupted within a process; so a child tries them and the kernel ends it in time.
"""

import asyncio
import math
import re
import resource
import sys
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from charkha.core.errors import CharkhaError
from charkha.kit import telemetry
from charkha.kit.programs import environment
from charkha.serve.prompts.cases import Expectation, is_simple

CPU_SECONDS, WALL_SECONDS, MEMORY_BYTES = 2, 20.0, 2**30
_NO_MEMORY = 75
_TOO_LONG = f"a regex or json_schema took more than {CPU_SECONDS} seconds or a gigabyte on it"

log = telemetry.logger(__name__)


class _Job(msgspec.Struct):
    text: str
    expected: list[Expectation]


async def unmet(expected: Sequence[Expectation], text: str) -> list[str]:
    """Why an answer fails those expectations that are a pattern or a schema; empty where it meets them."""
    hard = [each for each in expected if not is_simple(each)]
    if not hard:
        return []
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )
    try:
        async with asyncio.timeout(WALL_SECONDS):
            told, noise = await child.communicate(msgspec.json.encode(_Job(text, hard)))
    except TimeoutError:
        return [_TOO_LONG]
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode == 0:
        return msgspec.json.decode(told, type=list[str])
    if child.returncode == _NO_MEMORY or (child.returncode or 0) < 0:  # the kernel ended it
        return [_TOO_LONG]
    log.error("prompts.judge_failed", status=child.returncode, told=noise[-500:].decode(errors="replace"))
    raise CharkhaError("The answer could not be judged.", remedy="Charkha's log says why.")


def _reason(each: Expectation, text: str) -> str | None:
    if each.regex is not None:
        return None if re.search(each.regex, text) else f"matches not {each.regex[:80]}"
    return _against_schema(each.json_schema or {}, text)


def _against_schema(schema: dict[str, Any], text: str) -> str | None:
    import jsonschema_rs

    try:
        answer = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        return f"is no JSON: {error}"
    try:  # without the network: a reference leads to somewhere in the schema itself
        validator = jsonschema_rs.validator_for(schema, offline=True)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        return f"cannot be judged, for the json_schema is none: {str(error).splitlines()[0][:200]}"
    first = next(iter(validator.iter_errors(answer)), None)
    return None if first is None else f"is not of the json_schema: {first.message[:200]}"


def main() -> None:
    """Judge what stands on standard input; the reasons go to standard output."""
    begun = math.ceil(time.process_time())
    resource.setrlimit(resource.RLIMIT_CPU, (begun + CPU_SECONDS, begun + CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=_Job)
    try:
        reasons = [reason for each in job.expected if (reason := _reason(each, job.text))]
    except MemoryError:
        sys.exit(_NO_MEMORY)
    sys.stdout.buffer.write(msgspec.json.encode(reasons))


if __name__ == "__main__":
    main()
