"""Checked requests as works of the engine, and what comes of them in OpenAI's words, whole or streamed.

Owns the crossing from the engine's thread to the event loop, and the end of a request's works when its client leaves.
"""

import asyncio
import base64
import struct
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any
from uuid import uuid4

import msgspec

from charkha.core.errors import CharkhaError, Invalid
from charkha.serve.engines.engine_choices import DONE, sse, with_legacy_logprobs
from charkha.serve.engines.engine_requests import CHAT, Asked
from charkha.serve.engines.loom.adapters import Blend
from charkha.serve.engines.loom.engine import LoomEngine
from charkha.serve.engines.loom.grammar import Grammars
from charkha.serve.engines.loom.sampling import Sampling, TokenScore
from charkha.serve.engines.loom.text import Text
from charkha.serve.engines.loom.work import Embedded, Embedding, Event, Generation, Piece, Scored, Scoring, Work

_ANY_OBJECT: dict[str, Any] = {"type": "object"}


class Answers:
    """Makes works of requests and answers of their events, for one engine."""

    def __init__(self, engine: LoomEngine, text: Text, grammars: Grammars, model_name: str) -> None:
        self._engine, self._text, self._grammars, self._name = engine, text, grammars, model_name

    def prompt(self, call: dict[str, Any]) -> list[int]:
        """The tokens of a call's prompt. Raises Invalid if it is none, or longer than the engine reads."""
        try:
            tokens = self._tokens(call)
        except ValueError as error:
            raise Invalid(f"messages: {error}.", param="messages", remedy="Send another conversation.") from error
        if len(tokens) >= self._engine.most_tokens:
            message = f"The prompt has {len(tokens)} tokens; with an answer it may have {self._engine.most_tokens}."
            raise Invalid(message, remedy="Shorten the prompt.", param="messages", code="context_length_exceeded")
        return tokens

    async def whole(self, asked: Asked) -> bytes:
        """The whole answer of a generation."""
        async with _Running(self._engine) as running:
            prompts = await self._start(asked, running)
            texts, scores = [""] * len(asked.calls), [list[TokenScore]() for _ in asked.calls]
            last: dict[int, Piece] = {}
            async for number, event in running.events():
                assert isinstance(event, Piece)
                texts[number] += event.text
                scores[number] += event.scores
                if event.finish:
                    last[number] = event
        choices = [
            self._choice(asked, number, texts[number], scores[number], last[number].finish)
            for number in range(len(asked.calls))
        ]
        kind = "chat.completion" if asked.path == CHAT else "text_completion"
        answer = {**self._head(kind), "choices": choices, "usage": _usage(asked, prompts, last)}
        return msgspec.json.encode(with_legacy_logprobs(answer) if asked.legacy_logprobs else answer)

    async def events(self, asked: Asked) -> AsyncIterator[bytes]:
        """The answer as server-sent events."""
        kind = "chat.completion.chunk" if asked.path == CHAT else "text_completion"
        head, last = self._head(kind), dict[int, Piece]()
        async with _Running(self._engine) as running:
            prompts = await self._start(asked, running)
            if asked.path == CHAT:
                for number in range(len(asked.calls)):
                    delta = {"role": "assistant", "content": ""}
                    yield sse({**head, "choices": [{"index": number, "delta": delta, "finish_reason": None}]})
            async for number, event in running.events():
                assert isinstance(event, Piece)
                if event.text or event.scores or not event.finish:
                    yield self._chunk(asked, head, number, event.text, event.scores, None)
                if event.finish:
                    last[number] = event
                    yield self._chunk(asked, head, number, "", (), event.finish)
        if asked.include_usage:
            yield sse({**head, "choices": [], "usage": _usage(asked, prompts, last)})
        yield DONE

    async def embeddings(self, asked: Asked) -> bytes:
        """The vectors of the inputs of an embeddings request."""
        (call,) = asked.calls
        inputs = [self.prompt({"prompt": each}) for each in call["input"]]
        found: dict[int, tuple[float, ...]] = {}
        async with _Running(self._engine) as running:
            for tokens in inputs:
                running.start(partial(Embedding, tokens))
            async for number, event in running.events():
                assert isinstance(event, Embedded)
                found[number] = event.values
        encode = _base64 if call["encoding_format"] == "base64" else list
        data = [{"object": "embedding", "index": n, "embedding": encode(found[n])} for n in range(len(inputs))]
        used = sum(map(len, inputs))
        usage = {"prompt_tokens": used, "total_tokens": used}
        return msgspec.json.encode({"object": "list", "model": self._name, "data": data, "usage": usage})

    async def scores(self, asked: Asked) -> bytes:
        """The log probabilities of each continuation's tokens after the prompt, which is read once."""
        (call,) = asked.calls
        prompt, texts = self.prompt(call), call["continuations"]
        continuations = [self._text.plain(each) for each in texts]
        blend, share = self._uses(asked)
        longest = max(map(len, continuations))
        if len(prompt) + longest > self._engine.most_tokens:
            message = f"Prompt and continuation have {len(prompt) + longest} tokens of {self._engine.most_tokens}."
            raise Invalid(message, remedy="Shorten them.", param="continuations", code="context_length_exceeded")
        async with _Running(self._engine) as running:
            running.start(partial(Scoring, prompt, continuations, blend, share))
            async for _, event in running.events():
                assert isinstance(event, Scored)
                found = event.continuations
        data = [
            {"index": number, "text": text, "logprob": sum(values), "token_logprobs": values}
            for number, (text, values) in enumerate(zip(texts, found, strict=True))
        ]
        used = len(prompt) + sum(map(len, continuations))
        usage = {"prompt_tokens": used, "total_tokens": used}
        return msgspec.json.encode({"object": "list", "model": self._name, "data": data, "usage": usage})

    def _uses(self, asked: Asked) -> tuple[Blend, tuple[str, Blend] | None]:
        """The blend of a request, and who may share what is read. Raises Conflict for an adapter that is not there."""
        for use in asked.adapters:
            self._engine.check(use.id)
        blend = tuple(sorted((use.id, use.weight) for use in asked.adapters if use.weight))
        return blend, (asked.partition, blend) if asked.partition else None

    def _tokens(self, call: dict[str, Any]) -> list[int]:
        if "messages" in call:
            return self._text.chat(call["messages"])
        prompt = call["prompt"]
        return list(prompt) if isinstance(prompt, list) else self._text.plain(prompt)

    async def _start(self, asked: Asked, running: "_Running") -> list[int]:
        """Start a work for each call; the sizes of their prompts."""
        blend, share = self._uses(asked)
        prompts = [self.prompt(call) for call in asked.calls]
        for call, tokens in zip(asked.calls, prompts, strict=True):
            most = min(call["max_tokens"], self._engine.most_tokens - len(tokens))
            constraint = await asyncio.to_thread(self._constraint, call) if "response_format" in call else None
            how = (self._text, most, _sampling(call), _stops(call), constraint)
            running.start(partial(Generation, *how, tokens=tokens, blend=blend, share=share))
        return [len(tokens) for tokens in prompts]

    def _constraint(self, call: dict[str, Any]) -> Any:
        wanted = call["response_format"]
        return self._grammars.json(wanted["json_schema"]["schema"] if "json_schema" in wanted else _ANY_OBJECT)

    def _head(self, kind: str) -> dict[str, Any]:
        prefix = "chatcmpl" if kind.startswith("chat") else "cmpl"
        return {"id": f"{prefix}-{uuid4().hex}", "object": kind, "created": int(time.time()), "model": self._name}

    def _choice(
        self, asked: Asked, number: int, text: str, scores: Sequence[TokenScore], finish: str | None
    ) -> dict[str, Any]:
        said = {"message": {"role": "assistant", "content": text}} if asked.path == CHAT else {"text": text}
        return {"index": number, **said, **self._logprobs(asked, scores), "finish_reason": finish}

    def _chunk(
        self,
        asked: Asked,
        head: dict[str, Any],
        number: int,
        text: str,
        scores: Sequence[TokenScore],
        finish: str | None,
    ) -> bytes:
        delta = {"content": text} if text or not finish else {}
        said: dict[str, Any] = {"delta": delta} if asked.path == CHAT else {"text": text}
        choice = {"index": number, **said, **self._logprobs(asked, scores), "finish_reason": finish}
        chunk = {**head, "choices": [choice]}
        return sse(with_legacy_logprobs(chunk) if asked.legacy_logprobs else chunk)

    def _logprobs(self, asked: Asked, scores: Sequence[TokenScore]) -> dict[str, Any]:
        if not any("logprobs" in call for call in asked.calls):
            return {}
        return {"logprobs": {"content": [self._score(score) for score in scores]} if scores else None}

    def _score(self, score: TokenScore) -> dict[str, Any]:
        best = [self._token(token, value) for token, value in score.best]
        return {**self._token(score.token, score.log_probability), "top_logprobs": best}

    def _token(self, token: int, value: float) -> dict[str, Any]:
        piece = self._text.piece(token)
        return {"token": piece, "logprob": value, "bytes": list(piece.encode())}


class _Running:
    """The works of one request: started together, their events in the order in which they come, ended with the block."""

    def __init__(self, engine: LoomEngine) -> None:
        self._engine, self._works = engine, list[Work]()
        self._queue: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    async def __aenter__(self) -> "_Running":
        return self

    async def __aexit__(self, *_: object) -> None:
        for work in self._works:
            if not work.finished:
                self._engine.cancel(work)

    def start(self, make: Callable[..., Work]) -> None:
        """Submit the work that `make(emit=…)` returns."""
        number = len(self._works)

        def emit(event: Event) -> None:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, (number, event))

        work = make(emit=emit)
        self._engine.submit(work)
        self._works.append(work)

    async def events(self) -> AsyncIterator[tuple[int, Event]]:
        """Events with the numbers of their works, until all have ended. Raises a work's error."""
        left = len(self._works)
        while left:
            number, event = await self._queue.get()
            if isinstance(event, CharkhaError):
                raise event
            left -= not isinstance(event, Piece) or event.finish is not None
            yield number, event


def _sampling(call: dict[str, Any]) -> Sampling:
    names = (
        "temperature",
        "top_p",
        "min_p",
        "top_k",
        "frequency_penalty",
        "presence_penalty",
        "repeat_penalty",
        "seed",
    )
    given = {name: call[name] for name in names if name in call}
    asked = call.get("logprobs")
    top = None if asked is None else call.get("top_logprobs", 0) if asked is True else int(asked)
    return Sampling(**given, bias=tuple((token, bias) for token, bias in call.get("logit_bias", ())), top=top)


def _stops(call: dict[str, Any]) -> list[str]:
    stop = call.get("stop", [])
    return [stop] if isinstance(stop, str) else stop


def _usage(asked: Asked, prompts: Sequence[int], last: dict[int, Piece]) -> dict[str, Any]:
    """A prompt counts once however many choices it has."""
    prompt = sum(prompts[:: asked.per_prompt])
    completion = sum(piece.generated for piece in last.values())
    cached = sum(last[number].cached for number in range(0, len(prompts), asked.per_prompt))
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def _base64(values: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
