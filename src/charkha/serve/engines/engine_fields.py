"""The fields that a client may send to the embedded engine, their types and their ranges. Nothing else is understood.

Pure declarations; `engine_requests` judges what types cannot say.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

MAX_CALLS: Final = 16

_Unit = Annotated[float, Meta(ge=0, le=1)]
_Penalty = Annotated[float, Meta(ge=-2, le=2)]
_Stop = Annotated[str, Meta(min_length=1, max_length=256)]
_Token = Annotated[int, Meta(ge=0)]
# A text, texts, tokens, or lists of tokens; `_prompts` checks that they are not mixed.
_Prompt = str | Annotated[list[str | _Token | Annotated[list[_Token], Meta(min_length=1)]], Meta(max_length=8192)]


class AdapterUse(msgspec.Struct, forbid_unknown_fields=True):
    """One adapter of a blend, by the SHA-256 of its file, and how strongly it is applied (1 = as trained)."""

    id: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    weight: Annotated[float, Meta(ge=-8, le=8)] = 1.0


class Part(msgspec.Struct):
    """A part of a message; text is the only type that this engine reads."""

    type: Annotated[str, Meta(max_length=64)]
    text: str | None = None


class Message(msgspec.Struct):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    tool_calls: list[Any] | None = None


class SchemaFormat(msgspec.Struct):
    """The JSON schema that the answer is to follow."""

    schema: dict[str, Any]


class Format(msgspec.Struct):
    """What the answer is to be: any text, JSON, or JSON by a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: SchemaFormat | None = None


class StreamOptions(msgspec.Struct):
    """Whether a stream ends with an event that tells the usage."""

    include_usage: bool = False


class BaseRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What every request may say."""

    model: str = ""
    adapters: Annotated[list[AdapterUse], Meta(max_length=8)] = []


class GenerationRequest(BaseRequest, kw_only=True):
    """What chats and completions share. What was read of a prompt is used again within a `partition` alone."""

    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: _Unit | None = None
    min_p: _Unit | None = None
    top_k: Annotated[int, Meta(ge=0, le=100_000)] | None = None
    seed: int | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_CALLS)] = 1
    stop: _Stop | Annotated[list[_Stop], Meta(max_length=16)] | None = None
    frequency_penalty: _Penalty | None = None
    presence_penalty: _Penalty | None = None
    repeat_penalty: Annotated[float, Meta(ge=0, le=10)] | None = None
    logit_bias: Annotated[dict[int, Annotated[float, Meta(ge=-100, le=100)]], Meta(max_length=1024)] | None = None
    response_format: Format | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    partition: Annotated[str, Meta(max_length=64)] = ""


class ChatRequest(GenerationRequest, kw_only=True):
    """/v1/chat/completions."""

    messages: Annotated[list[Message], Meta(min_length=1, max_length=4096)]
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None


class CompletionRequest(GenerationRequest, kw_only=True):
    """/v1/completions."""

    prompt: _Prompt
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None


class EmbeddingRequest(BaseRequest, kw_only=True):
    """/v1/embeddings."""

    input: _Prompt
    encoding_format: Literal["float", "base64"] = "float"


class ScoreRequest(BaseRequest, kw_only=True):
    """/v1/score: how probable each of `continuations` is after the prompt, which is a conversation or a text."""

    messages: Annotated[list[Message], Meta(min_length=1, max_length=4096)] | None = None
    prompt: Annotated[str, Meta(min_length=1)] | Annotated[list[_Token], Meta(min_length=1)] | None = None
    continuations: Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1, max_length=256)]
