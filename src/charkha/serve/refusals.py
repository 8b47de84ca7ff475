"""What an engine says when it refuses, in whichever of the shapes that OpenAI-compatible services use. Pure.

OpenAI's own is `{"error": {"message", "type", "param", "code"}}`. Others send text in place of the object (TGI), the
object without its envelope (older vLLM), or the whole in a list (Gemini).
"""

from typing import Any

import msgspec


class Refusal(msgspec.Struct, frozen=True):
    """What there is of OpenAI's error object: fields of other types, such as numeric codes, count as absent."""

    message: str | None = None
    param: str | None = None
    code: str | None = None

    @classmethod
    def of(cls, body: bytes) -> "Refusal":
        """What a body tells; nothing of one that makes no sense."""
        try:
            told = _error(msgspec.json.decode(body))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return cls()
        texts = {field: told.get(field) for field in cls.__struct_fields__}
        return cls(**{field: value for field, value in texts.items() if isinstance(value, str)})


def _error(told: Any) -> dict[str, Any]:
    if isinstance(told, list) and told:
        told = told[0]
    if not isinstance(told, dict):
        return {}
    error = told.get("error", told)
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else {}
