"""The typed Python client: `Charkha` and `AsyncCharkha`. What the command line uses, and what applications import.

Boundary: stands on httpx and msgspec alone and imports nothing else of Charkha. For inference itself the official
`openai` client works unmodified; this one adds what that has no words for.
"""

from charkha.client._async.client import AsyncCharkha
from charkha.client._sync.client import Charkha
from charkha.client.errors import ApiError, ConnectionFailed

__all__ = ["ApiError", "AsyncCharkha", "Charkha", "ConnectionFailed"]
