"""What people upload as a data set: bytes in, examples out. Bounded, and each refusal says what to do.

Two carriers, JSON lines and one JSON document, and in either the forms that `connectors.jsonl` reads, or our own:
`{"prompt": [{"role", "content"}, …], "answer", "label"?, "inference_id"?, "subject_id"?}`.
"""

import io
from collections.abc import AsyncIterator
from uuid import UUID

import msgspec

from charkha.core.errors import Invalid, TooLarge
from charkha.core.messages import Example
from charkha.data import domain
from charkha.data.connectors import jsonl

LARGEST_UPLOAD = 64 << 20
_HOW = 'Send JSON lines as application/jsonl with ?name=…, or {"name": …, "examples": […]} as application/json.'


class Upload(msgspec.Struct, forbid_unknown_fields=True):
    """The JSON document."""

    name: str
    examples: list[msgspec.Raw]


async def received(chunks: AsyncIterator[bytes]) -> bytes:
    """A body, read to its end. Raises TooLarge as soon as it is over the cap."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > LARGEST_UPLOAD:
            raise TooLarge(
                f"The data set is larger than {LARGEST_UPLOAD >> 20} MiB.",
                remedy="Upload a sample, or several data sets.",
            )
    return bytes(body)


def read(body: bytes, media_type: str, name: str | None) -> tuple[str, tuple[Example, ...]]:
    """The name and the examples in a body. Raises Invalid saying what is wrong, by line where it can."""
    if media_type == "application/json":
        document = _document(body)
        name, body = document.name, b"\n".join(msgspec.json.format(each, indent=-1) for each in document.examples)
    if not name:
        raise Invalid("The data set has no name.", param="name", remedy=_HOW)
    return name, _examples(body, name)


def _document(body: bytes) -> Upload:
    try:
        return msgspec.json.decode(body, type=Upload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"The body cannot be read: {error}.", remedy=_HOW) from error


def _examples(body: bytes, title: str) -> tuple[Example, ...]:
    """In our own form as they are; in others' deduplicated and checked."""
    first = next((line for line in body.split(b"\n", 64) if line.strip()), b"")
    ours = _is_ours(first)
    examples = domain.parse(body.strip()) if ours else jsonl.read(io.BytesIO(body), title=title).examples
    for number, example in enumerate(examples, 1):
        _check(number, example)
    return examples


def _is_ours(line: bytes) -> bool:
    try:
        row = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return isinstance(row, dict) and isinstance(row.get("prompt"), list) and "answer" in row


def _check(number: int, example: Example) -> None:
    """What the forms of others cannot get wrong, and what the database cannot hold."""
    if not example.prompt or not example.answer.strip():
        raise Invalid(f"Line {number} has an empty prompt or answer.", remedy="Fill it in or leave it out.")
    if example.inference_id is not None and not _is_uuid(example.inference_id):
        raise Invalid(f"Line {number} has an inference_id that is no id.", remedy="Give a UUID, or leave it out.")
    if any("\0" in word for word in (example.label, example.subject_id) if word):
        raise Invalid(f"Line {number} has a NUL character in its label or subject.", remedy="Take it out.")


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
