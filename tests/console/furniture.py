"""A workspace of the console's tests while things are put into it: through REST, services, and a shipped spool."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec

from charkha.app.wiring import Wiring
from charkha.core.clock import now
from charkha.core.ids import mint
from charkha.kit.spool import SpoolWriter
from charkha.observe.shipper import Shipper
from tests.observe.spooling import append, closed, opened

LABELS = ["bug", "question", "praise"]
TEXTS = ("It crashes when I save", "How do I export a table?", "The new search is lovely")
COUNTS = ("prompt_tokens", "completion_tokens", "cost", "currency")
Things = dict[str, str]


@dataclass
class Furniture:
    """One workspace while it is being furnished. `things` are ids by kind, names by kind with `_name`.

    `aside` is added to whatever people, models and recipes say in it: reasons, wrong answers, errors, lines of a log.
    """

    wiring: Wiring
    rest: httpx.AsyncClient
    name: str
    workspace_id: UUID
    prefix: str
    things: Things = field(default_factory=dict)
    aside: str = ""

    def tx(self) -> Any:
        """A transaction in the workspace."""
        return self.wiring.database.workspace(self.workspace_id, "key:seed")

    async def send(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """One call of the REST API; it must succeed."""
        headers = {"x-charkha-workspace": self.name, **more.pop("headers", {})}
        answer = await self.rest.request(method, path, json=body, headers=headers, **more)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()


async def log(place: Furniture, directory: Path, wanted: list[dict[str, Any]]) -> list[UUID]:
    """Ship inferences into the log, as a gateway's spool is shipped. `minutes`: how long ago; else fields of records.

    `text` is what was asked, `messages` a whole conversation in its place.
    """
    key = place.wiring.installation.secrets.derive("inference-id", place.workspace_id)
    spool, ids = directory / f"spool-{place.name}-{now().timestamp()}", []
    writer = SpoolWriter(spool / "gateway", "gateway")
    for each in wanted:
        fields = dict(each)
        at = int((now().timestamp() - 60 * fields.pop("minutes", 1)) * 1000)
        text, answer = fields.pop("text", TEXTS[0]), fields.pop("answer", LABELS[0])
        end = {name: fields.pop(name) for name in ("status", "error_code", "duration_ms", *COUNTS) if name in fields}
        messages = fields.pop("messages", [{"role": "user", "content": text}])
        request = None if text is None else msgspec.json.encode({"model": "x", "messages": messages})
        record = opened(place.workspace_id, mint(key, at), at_ms=at, request=request, **fields)
        append(writer, record, closed(record, answer=answer, **end))
        ids.append(record.id)
    writer.close()
    shipper = Shipper(place.wiring.database, spool)
    assert await shipper.ship_once() == len(ids)
    shipper.close()
    return ids
