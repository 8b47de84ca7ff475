"""Tool calls as OpenAI's clients want them, of services that tell them otherwise: a translator of answers to requests
with tools.

Pure. Mended is what is known to be left out: the `index` of a streamed call, or one index for all of them (Gemini, older
Ollama), a call's `id`, the `finish_reason` "tool_calls"; and what is known to be of another type: one call in place of
a list, arguments as an object (TGI). Events in which all of it is right pass byte for byte.
"""

from typing import Any, Final

import msgspec

from charkha.serve.streaming import Lines

MAX_ANSWER_BYTES: Final = 64 * 2**20
_Json = dict[str, Any]


class WholeCalls:
    """A whole answer. See `ports.Translator`."""

    def __init__(self, nonce: str, *, named: bool) -> None:
        """`nonce` makes ids unlike those of other answers; `named`: a tool was named, so the reason "stop" is right."""
        self._nonce, self._named, self._body = nonce, named, bytearray()

    def status(self, status: int) -> int:
        """As it is."""
        return status

    def feed(self, data: bytes) -> bytes:
        """Nothing yet; of an answer that is too large, everything from then on, for the gateway to refuse."""
        if len(self._body) > MAX_ANSWER_BYTES:
            return data
        self._body += data
        return bytes(self._body) if len(self._body) > MAX_ANSWER_BYTES else b""

    def end(self) -> bytes:
        """The answer."""
        if len(self._body) > MAX_ANSWER_BYTES:
            return b""
        body = bytes(self._body)
        if b'"tool_calls"' not in body:
            return body
        answer = _object(body)
        wrong = [self._mended(choice) for choice in _choices(answer)]
        return msgspec.json.encode(answer) if any(wrong) else body

    def _mended(self, choice: _Json) -> bool:
        """Mend a choice; whether anything was wrong with it."""
        calls, shaped = _calls(choice.get("message"))
        nameless = [(place, call) for place, call in enumerate(calls) if not call.get("id")]
        for place, call in nameless:
            call["id"] = _id(self._nonce, choice, place)
        ends = _ends(choice, called=bool(calls), named=self._named)
        return bool(nameless) or shaped or ends


class StreamedCalls:
    """A streamed answer. See `ports.Translator`."""

    def __init__(self, nonce: str, *, named: bool) -> None:
        """See WholeCalls."""
        self._nonce, self._named, self._status = nonce, named, 200
        self._lines = Lines()
        self._choices: dict[Any, _Order] = {}

    def status(self, status: int) -> int:
        """As it is."""
        self._status = status
        return status

    def feed(self, data: bytes) -> bytes:
        """The events, each mended where it has to be."""
        if self._status != 200:
            return data
        return b"".join([b"data: " + self._mended(payload) + b"\n\n" for payload in self._lines.feed(data)])

    def end(self) -> bytes:
        """Nothing more."""
        return b""

    def _mended(self, payload: bytes) -> bytes:
        if not (self._choices or b'"tool_calls"' in payload):
            return payload
        chunk = _object(payload)
        wrong = [self._wrong(each) for each in _choices(chunk)]
        return msgspec.json.encode(chunk) if any(wrong) else payload

    def _wrong(self, choice: _Json) -> bool:
        """Mend a choice; whether anything was wrong with it."""
        calls, shaped = _calls(choice.get("delta"))
        order = self._choices.get(choice.get("index"))
        if order is None:
            if not calls:
                return False
            order = self._choices[choice.get("index")] = _Order()
        mended = [order.mend(call, _id(self._nonce, choice, len(order.ids))) for call in calls]
        return any([*mended, shaped, _ends(choice, called=True, named=self._named)])


class _Order:
    """The calls of one streamed answer, in the order in which they began."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self._at: dict[Any, int] = {}  # the engine's index → the call that it last stood for

    def mend(self, call: _Json, fresh: str) -> bool:
        """Give a piece of a call its index, and its id where it begins one; whether anything was wrong with it."""
        before = call.get("index"), call.get("id")
        place = self._place(call)
        begins = place == len(self.ids)
        if begins:
            self.ids.append(call.get("id") or fresh)
            call["id"] = self.ids[place]
        self._at[before[0]] = place
        call["index"] = place
        return before != (place, call.get("id"))

    def _place(self, call: _Json) -> int:
        """Which call a piece is of: a new one where it names a tool and has another id than the one it would go on."""
        index, known = call.get("index"), call.get("id")
        if known and known in self.ids:
            return self.ids.index(known)
        function = call.get("function")
        names = isinstance(function, dict) and bool(function.get("name"))
        if index is None:
            return len(self.ids) if names or not self.ids else len(self.ids) - 1
        if index not in self._at or (names and known):
            return len(self.ids)
        return self._at[index]


def _ends(choice: _Json, *, called: bool, named: bool) -> bool:
    """Say of an answer that called that it ended so; whether it said otherwise."""
    if not called or named or choice.get("finish_reason") != "stop":
        return False
    choice["finish_reason"] = "tool_calls"
    return True


def _id(nonce: str, choice: _Json, place: int) -> str:
    return f"call_{nonce}_{choice.get('index') or 0}_{place}"


def _object(body: bytes) -> Any:
    """What is in a body; what cannot be read is nobody's to mend, and the gateway's to refuse."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _choices(answer: Any) -> list[_Json]:
    found = answer.get("choices") if isinstance(answer, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _calls(said: Any) -> tuple[list[_Json], bool]:
    """The calls in a message or a piece of one, in a list and with arguments as text; whether they were otherwise."""
    found = said.get("tool_calls") if isinstance(said, dict) else None
    shaped = isinstance(found, dict)
    if shaped:
        found = said["tool_calls"] = [found]
    calls = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    for call in calls:
        function = call.get("function")
        if isinstance(function, dict) and isinstance(function.get("arguments"), dict):
            function["arguments"], shaped = msgspec.json.encode(function["arguments"]).decode(), True
    return calls, shaped
