"""What `/v1/models` answers, in the form of the API whose client asks. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from charkha.core.ids import instant
from charkha.serve.dialects.openai import model_body
from charkha.serve.routes import ModelName, unknown

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def told(models: Sequence[ModelName], wanted: str, *, to_anthropic: bool) -> bytes:
    """The model named `wanted`, or all where that is empty. Raises NotFound."""
    found = [_model(each, to_anthropic) for each in models if not wanted or each.name == wanted]
    if not wanted:
        return msgspec.json.encode(_page(found) if to_anthropic else {"object": "list", "data": found})
    if not found:
        raise unknown(wanted)
    return msgspec.json.encode(found[0])


def _model(model: ModelName, to_anthropic: bool) -> dict[str, Any]:
    created = instant(model.id) if model.id else _EPOCH
    if not to_anthropic:
        return model_body(model.name, int(created.timestamp()))
    return {"type": "model", "id": model.name, "display_name": model.name, "created_at": created.isoformat()}


def _page(found: list[dict[str, Any]]) -> dict[str, Any]:
    ends = {"first_id": found[0]["id"], "last_id": found[-1]["id"]} if found else {"first_id": None, "last_id": None}
    return {"data": found, "has_more": False, **ends}
