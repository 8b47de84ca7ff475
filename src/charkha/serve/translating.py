"""Answers on their way through that are told anew, in the words of the client's dialect. The counterpart of `streaming`."""

from collections.abc import Callable

from charkha.serve.dialects import chat
from charkha.serve.dialects.dialect import Telling
from charkha.serve.recording import Outcome
from charkha.serve.streaming import Notes, read
from charkha.serve.upstream import EngineFailed


class TranslatingRelay:
    """One answer on its way from an engine to a client of another dialect. `outcome`: see `streaming.Relay`."""

    __slots__ = ("_notes", "_telling", "done")

    def __init__(self, telling: Telling, outcome: Outcome, *, keeps_content: bool) -> None:
        self._telling, self._notes, self.done = telling, Notes(outcome, keeps_content), False

    def whole(self, body: bytes) -> bytes:
        """A whole answer, as the client gets it. Raises EngineFailed for one that makes no sense."""
        told = self._told(self._telling.whole, body)
        self._notes.finish()
        return told

    def chunk(self, payload: bytes) -> bytes:
        """What an event of the engine's becomes. After `[DONE]`, `done` is true."""
        if payload == b"[DONE]":
            self.done = True
            self._notes.finish()
            return b""
        return self._told(self._telling.chunk, payload)

    def ending(self) -> bytes:
        """What ends the stream; sent once the close record stands."""
        return self._telling.ending()

    def _told(self, tell: Callable[[chat.Answer], bytes], body: bytes) -> bytes:
        answer = read(chat.decode, body)
        self._notes.take(answer)
        try:
            return tell(answer)
        except ValueError as error:
            raise EngineFailed(f"The engine's answer makes no sense: {error}.") from error
