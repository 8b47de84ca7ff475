"""What a client may ask of an engine of ours: OpenAI requests, checked field by field and written anew as plain calls.

Pure judgement, no I/O. Nothing that a client sent reaches native code unless a type here names it and bounds it; what
clients commonly send and this engine has no use for (`user`, `metadata`, …) is dropped, anything else is refused by name.
"""

import re
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from charkha.core.errors import Invalid
from charkha.serve.engines.engine_fields import (
    MAX_CALLS,
    AdapterUse,
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    Format,
    GenerationRequest,
    Message,
    Part,
    ScoreRequest,
)
from charkha.serve.engines.engine_schemas import check_schema
from charkha.serve.ports import COUNT_PATH

CHAT: Final = "/v1/chat/completions"
COMPLETIONS: Final = "/v1/completions"
EMBEDDINGS: Final = "/v1/embeddings"
COUNT: Final = COUNT_PATH
SCORE: Final = "/v1/score"

_IGNORED: Final = frozenset(
    {
        *("metadata", "parallel_tool_calls", "prompt_cache_key", "reasoning_effort", "safety_identifier"),
        *("service_tier", "store", "user"),
    }
)
# A control token written inside a message would end the turn and begin another in anybody's name. A zero-width space
# makes it the plain text that it was meant to be.
_CONTROL: Final = re.compile(r"<(?=\|[a-z_]{1,32}\|>)")
_AT_FIELD: Final = re.compile(r"`\$\.?([A-Za-z_]+)|unknown field `(\w+)`|required field `(\w+)`")

_Kind = TypeVar("_Kind", bound=msgspec.Struct)


@dataclass(frozen=True)
class Limits:
    """What the served model bounds: tokens in one request (prompt and answer), and tokens in its vocabulary."""

    context: int
    vocabulary: int


@dataclass(frozen=True)
class Asked:
    """A checked request: the calls that answer it (one per choice; consecutive runs of `per_prompt` share a prompt)."""

    path: str
    calls: list[dict[str, Any]]
    adapters: list[AdapterUse]
    per_prompt: int = 1
    stream: bool = False
    include_usage: bool = False
    legacy_logprobs: bool = False
    partition: str = ""
    """Who may share what is read: requests of the same partition, that is of one workspace. Nothing: nobody."""

    @property
    def passes_through(self) -> bool:
        """Whether the engine's bytes are the answer as they are."""
        return len(self.calls) == 1 and not self.legacy_logprobs


def understand(path: str, body: bytes, limits: Limits) -> Asked:
    """Check a request body. Raises Invalid that names the field (`param`) and says what it may be."""
    fields = _fields(body)
    if path == CHAT:
        return _chat(_typed(fields, ChatRequest), limits)
    if path == COUNT:
        return Asked(COUNT, [{"messages": [_message(each) for each in _typed(fields, ChatRequest).messages]}], [])
    if path == COMPLETIONS:
        return _completion(_typed(fields, CompletionRequest), limits)
    if path == SCORE:
        return _score(_typed(fields, ScoreRequest), limits)
    return _embedding(_typed(fields, EmbeddingRequest), limits)


def _fields(body: bytes) -> dict[str, Any]:
    try:
        fields = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"The body is not a JSON object: {error}.", remedy="Send a JSON object.") from error
    return {key: value for key, value in fields.items() if value is not None and key not in _IGNORED}


def _typed(fields: dict[str, Any], kind: type[_Kind]) -> _Kind:
    try:
        return msgspec.convert(fields, kind, str_keys=True)
    except msgspec.ValidationError as error:
        found = _AT_FIELD.search(str(error))
        name = next((group for group in found.groups() if group), None) if found else None
        raise Invalid(f"{name or 'The request'}: {error}.", param=name, remedy="Correct that field.") from error


def _chat(request: ChatRequest, limits: Limits) -> Asked:
    if request.tools and request.tool_choice != "none":
        remedy = "Describe the tools in the system message and set response_format to a json_schema of the call."
        _wrong("tools", "this model's chat template knows no tools", remedy)
    if request.max_completion_tokens:
        request.max_tokens = request.max_completion_tokens
    if request.top_logprobs and not request.logprobs:
        _wrong("top_logprobs", "it needs logprobs", "Set logprobs to true.")
    call = _sampling(request, limits) | {"messages": [_message(message) for message in request.messages]}
    if request.logprobs:
        call |= {"logprobs": True, "top_logprobs": request.top_logprobs or 0}
    return _asked(CHAT, request, [call])


def _completion(request: CompletionRequest, limits: Limits) -> Asked:
    common = _sampling(request, limits)
    if request.logprobs is not None:
        common["logprobs"] = max(1, request.logprobs)
    calls = [common | {"prompt": prompt} for prompt in _prompts("prompt", request.prompt, limits)]
    return _asked(COMPLETIONS, request, calls, legacy_logprobs=request.logprobs is not None)


def _embedding(request: EmbeddingRequest, limits: Limits) -> Asked:
    if request.adapters:
        _wrong("adapters", "embeddings are the base model's", "Leave adapters out.")
    inputs = _prompts("input", request.input, limits)
    return Asked(EMBEDDINGS, [{"input": inputs, "encoding_format": request.encoding_format}], [])


def _score(request: ScoreRequest, limits: Limits) -> Asked:
    if (request.messages is None) == (request.prompt is None):
        _wrong("prompt", "it needs either messages or prompt", "Send one of them.")
    if request.messages is not None:
        call: dict[str, Any] = {"messages": [_message(message) for message in request.messages]}
    else:
        call = {"prompt": _prompts("prompt", request.prompt or "", limits)[0]}
    return Asked(SCORE, [call | {"continuations": request.continuations}], _distinct(request.adapters))


def _distinct(adapters: list[AdapterUse]) -> list[AdapterUse]:
    names = [adapter.id for adapter in adapters]
    if len(set(names)) != len(names):
        _wrong("adapters", "an adapter comes twice", "Name each once, with the sum of its weights.")
    return adapters


def _asked(path: str, request: GenerationRequest, calls: list[dict[str, Any]], legacy_logprobs: bool = False) -> Asked:
    if len(calls) * request.n > MAX_CALLS:
        _wrong("n", f"it asks for {len(calls) * request.n} choices", f"Ask for at most {MAX_CALLS} in one request.")
    return Asked(
        path,
        [_varied(call, number) for call in calls for number in range(request.n)],
        _distinct(request.adapters),
        request.n,
        request.stream,
        _wants_usage(request),
        legacy_logprobs,
        request.partition,
    )


def _varied(call: dict[str, Any], number: int) -> dict[str, Any]:
    """The call for the choice of that number: with a seed of its own, or the choices would be the same."""
    return call | {"seed": (call["seed"] + number) % 0xFFFFFFFF} if "seed" in call else call


def _sampling(request: GenerationRequest, limits: Limits) -> dict[str, Any]:
    names = (
        *("temperature", "top_p", "min_p", "top_k", "stop"),
        *("frequency_penalty", "presence_penalty", "repeat_penalty"),
    )
    call = {name: value for name in names if (value := getattr(request, name)) is not None}
    call["max_tokens"] = min(request.max_tokens or limits.context, limits.context)
    if request.seed is not None:
        call["seed"] = request.seed % 0xFFFFFFFF  # llama.cpp reads the highest value as "random"
    if request.logit_bias:
        call["logit_bias"] = [[token, bias] for token, bias in request.logit_bias.items()]
    if request.response_format and request.response_format.type != "text":
        call["response_format"] = _format(request.response_format)
    if request.stream:
        call |= {"stream": True, "stream_options": {"include_usage": _wants_usage(request)}}
    return call


def _wants_usage(request: GenerationRequest) -> bool:
    return bool(request.stream_options and request.stream_options.include_usage)


def _format(wanted: Format) -> dict[str, Any]:
    if wanted.type == "json_object":
        return {"type": "json_object"}
    if wanted.json_schema is None:
        _wrong("response_format", "json_schema is missing", "Send json_schema: {name, schema}.")
    check_schema(wanted.json_schema.schema)
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted.json_schema.schema}}


def _message(message: Message) -> dict[str, str]:
    if message.tool_calls:
        _wrong("messages", "this model's chat template knows no tool calls", "Write the call as text in content.")
    content = message.content
    text = content if isinstance(content, str) else "".join(_text_of(part) for part in content or [])
    role = "system" if message.role == "developer" else message.role
    return {"role": role, "content": _CONTROL.sub("<\u200b", text)}


def _text_of(part: Part) -> str:
    if part.type != "text" or part.text is None:
        remedy = "Send text, or ask an endpoint whose engine takes such parts."
        _wrong("messages", f"this engine reads text alone, no part of type '{part.type}'", remedy)
    return part.text


def _prompts(param: str, given: str | list[Any], limits: Limits) -> list[Any]:
    """The prompts in `given`, each a text or a list of tokens."""
    kinds = {type(each) for each in given} if isinstance(given, list) else {str}
    if len(kinds) > 1:
        _wrong(param, "it mixes texts and tokens", "Send texts, or lists of tokens, or one list of tokens.")
    prompts = list(given) if isinstance(given, list) and int not in kinds else [given]
    if not prompts or not all(prompts):
        _wrong(param, "it is empty", "Send at least one text that is not empty.")
    if any(isinstance(prompt, list) and max(prompt) >= limits.vocabulary for prompt in prompts):
        _wrong(param, f"a token is not in the vocabulary of {limits.vocabulary}", "Send tokens of this model.")
    return prompts


def _wrong(param: str, what: str, remedy: str) -> NoReturn:
    raise Invalid(f"{param}: {what}.", param=param, remedy=remedy)
