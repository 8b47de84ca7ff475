"""An engine's answer on its way through a translator: what the engine tells in its own API's words, in OpenAI's."""

from collections.abc import AsyncIterator
from types import TracebackType

from charkha.serve.ports import Response, Translator, UpstreamCall


class Translated:
    """A response over another one whose words are translated as they come."""

    def __init__(self, response: Response, translator: Translator) -> None:
        self._response, self._translator = response, translator
        self.status = translator.status(response.status)
        self.headers = response.headers
        self.content = self

    async def iter_any(self) -> AsyncIterator[bytes]:
        """The translated body, piece by piece."""
        async for data in self._response.content.iter_any():
            if told := self._translator.feed(data):
                yield told
        if told := self._translator.end():
            yield told

    def close(self) -> None:
        """Give the connection up."""
        self._response.close()

    async def __aenter__(self) -> "Translated":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._response.__aexit__(kind, error, trace)


def translated(response: Response, call: UpstreamCall) -> Response:
    """The answer to a call in OpenAI's words: the response itself where those are the engine's own."""
    if call.answers is None:
        return response
    return Translated(response, call.answers())
