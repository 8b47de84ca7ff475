"""The routes under /v1 for the OpenAPI document: FastAPI does not know them, since they are served without it.

Pure data. What a field may hold is checked in `dialects`, whose names these are: a test compares the two.
"""

from typing import Any

from charkha.serve.dialects import openai

Schema = dict[str, Any]


def _text(longest: int, **more: Any) -> Schema:
    return {"type": "string", "minLength": 1, "maxLength": longest, **more}


def _integer(least: int, most: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most}


def _number(least: float, most: float) -> Schema:
    return {"type": "number", "minimum": least, "maximum": most}


def _list(items: Schema, most: int, least: int = 0) -> Schema:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


def _object(needed: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties} | ({"required": list(needed)} if needed else {})


def _word(*words: str) -> Schema:
    return {"type": "string", "enum": list(words)}


def _any(*schemas: Schema) -> Schema:
    return {"anyOf": list(schemas)}


BOOLEAN: Schema = {"type": "boolean"}
ANY_TEXT: Schema = {"type": "string"}
OBJECT: Schema = {"type": "object"}
_TOKENS = _list(_integer(0, 2**31 - 1), 100_000, 1)
_PROMPTS = _any(ANY_TEXT, _TOKENS, _list(_any(ANY_TEXT, _TOKENS), openai.MAX_INPUTS, 1))
_FUNCTION = _object(("name",), name=ANY_TEXT, description=ANY_TEXT, parameters=OBJECT, strict=BOOLEAN)
_FORMAT = _any(
    _object(("type",), type=_word("text", "json_object")),
    _object(
        ("type", "json_schema"),
        type=_word("json_schema"),
        json_schema=_object(("name",), name=ANY_TEXT, schema=OBJECT, strict=BOOLEAN, description=ANY_TEXT),
    ),
)
_CALL = _object(
    ("id", "function"),
    id=ANY_TEXT,
    type=_word("function"),
    function=_object(("name", "arguments"), name=ANY_TEXT, arguments=ANY_TEXT),
)
_CONTENT_PART = _any(
    _object(("type", "text"), type=_word("text"), text=ANY_TEXT),
    _object(("type", "image_url"), type=_word("image_url"), image_url=_object(("url",), url=ANY_TEXT)),
)
_CONTENT = _any(ANY_TEXT, _list(_CONTENT_PART, 1000))
_CHAT_MESSAGE = _any(
    _object(("role", "content"), role=_word("system", "developer", "user"), content=_CONTENT, name=ANY_TEXT),
    _object(("role",), role=_word("assistant"), content=_CONTENT, tool_calls=_list(_CALL, 128)),
    _object(("role", "content", "tool_call_id"), role=_word("tool"), content=_CONTENT, tool_call_id=ANY_TEXT),
)

_VALUES: Schema = {
    "type": "object",
    "additionalProperties": ANY_TEXT,
    "description": "Values of the variables of the endpoint's prompt, by name.",
}
_NAMED_PROMPT = _object(id=ANY_TEXT, version=ANY_TEXT, variables=_VALUES)
_MODEL = _text(512, description="An endpoint, a version, an alias or a base model.")
_OURS: dict[str, Schema] = {
    "model": _MODEL,
    "stream": BOOLEAN,
    "stream_options": _object(include_usage=BOOLEAN),
    "user": _text(256, description="Who is asking; the same user keeps the same variant."),
}
_SAMPLING: dict[str, Schema] = {
    "frequency_penalty": _number(-2, 2),
    "logit_bias": {"type": "object", "additionalProperties": _number(-100, 100)},
    "max_tokens": _integer(1, 2**20),
    "min_p": _number(0, 1),
    "n": _integer(1, 16),
    "presence_penalty": _number(-2, 2),
    "repeat_penalty": _number(0, 10),
    "seed": _integer(-(2**63), 2**63 - 1),
    "stop": _any(_text(256), _list(_text(256), 4)),
    "temperature": _number(0, 2),
    "top_k": _integer(0, 2**20),
    "top_p": _number(0, 1),
}
CHAT: dict[str, Schema] = {
    **_OURS,
    **_SAMPLING,
    "logprobs": BOOLEAN,
    "max_completion_tokens": _integer(1, 2**20),
    "messages": _list(_CHAT_MESSAGE, openai.MAX_MESSAGES),
    "parallel_tool_calls": BOOLEAN,
    "prompt": _NAMED_PROMPT,
    "reasoning_effort": _text(32),
    "response_format": _FORMAT,
    "tool_choice": _any(_word("none", "auto", "required"), _object(("type",), type=_word("function"), function=OBJECT)),
    "tools": _list(_object(("type", "function"), type=_word("function"), function=_FUNCTION), 128),
    "top_logprobs": _integer(0, 20),
    "variables": _VALUES,
}
COMPLETION: dict[str, Schema] = {
    **_OURS,
    **_SAMPLING,
    "best_of": _integer(1, 16),
    "echo": BOOLEAN,
    "logprobs": _integer(0, 20),
    "prompt": _PROMPTS,
    "suffix": _text(2**20),
}
EMBEDDING: dict[str, Schema] = {
    **_OURS,
    "dimensions": _integer(1, 2**16),
    "encoding_format": _word("float", "base64"),
    "input": _PROMPTS,
}
_BLOCK = _any(
    _object(("type", "text"), type=_word("text"), text=ANY_TEXT),
    _object(("type", "id", "name", "input"), type=_word("tool_use"), id=ANY_TEXT, name=ANY_TEXT, input=OBJECT),
    _object(("type", "tool_use_id"), type=_word("tool_result"), tool_use_id=ANY_TEXT, content=ANY_TEXT),
    _object(
        ("type", "source"),
        type=_word("image"),
        source=_object(("type",), type=_word("base64", "url"), media_type=ANY_TEXT, data=ANY_TEXT, url=ANY_TEXT),
    ),
)
PROMPT: dict[str, Schema] = {
    "messages": _list(
        _object(
            ("role", "content"),
            role=_word("user", "assistant", "system"),
            content=_any(ANY_TEXT, _list(_BLOCK, 1000)),
        ),
        openai.MAX_MESSAGES,
    ),
    "model": _MODEL,
    "output_config": _object(
        format=_object(("type", "schema"), type=_word("json_schema"), schema=OBJECT), effort=ANY_TEXT
    ),
    "system": _any(ANY_TEXT, _list(_object(("type", "text"), type=_word("text"), text=ANY_TEXT), 1000)),
    "thinking": OBJECT,
    "tool_choice": _object(
        ("type",), type=_word("auto", "any", "none", "tool"), name=ANY_TEXT, disable_parallel_tool_use=BOOLEAN
    ),
    "tools": _list(
        _object(("name", "input_schema"), name=ANY_TEXT, description=ANY_TEXT, input_schema=OBJECT, strict=BOOLEAN), 128
    ),
    "variables": _VALUES,
}
MESSAGE: dict[str, Schema] = {
    **PROMPT,
    "max_tokens": _integer(1, 2**20),
    "metadata": _object(user_id=_text(256)),
    "stop_sequences": _list(_text(256), 4),
    "stream": BOOLEAN,
    "temperature": _number(0, 1),
    "top_k": _integer(0, 2**20),
    "top_p": _number(0, 1),
}

_INPUT = _any(
    _object(("role", "content"), role=_word("user", "assistant", "system", "developer"), content=ANY_TEXT),
    _object(
        ("type", "call_id", "name", "arguments"),
        type=_word("function_call"),
        call_id=ANY_TEXT,
        name=ANY_TEXT,
        arguments=ANY_TEXT,
    ),
    _object(("type", "call_id", "output"), type=_word("function_call_output"), call_id=ANY_TEXT, output=ANY_TEXT),
)
_NOTHING: Schema = {"type": "boolean", "const": False, "description": "Nothing else can be asked for here."}
RESPONSE: dict[str, Schema] = {
    "background": _NOTHING,
    "conversation": _NOTHING,
    "include": _list(_text(256), 32),
    "input": _any(_text(2**20), _list(_INPUT, openai.MAX_MESSAGES, 1)),
    "instructions": ANY_TEXT,
    "max_output_tokens": _integer(1, 2**20),
    "metadata": OBJECT,
    "model": _MODEL,
    "parallel_tool_calls": BOOLEAN,
    "previous_response_id": _NOTHING,
    "prompt": _NAMED_PROMPT,
    "reasoning": _object(effort=_text(32)),
    "store": _NOTHING,
    "stream": BOOLEAN,
    "stream_options": OBJECT,
    "temperature": _number(0, 2),
    "text": _object(
        format=_any(
            _object(("type",), type=_word("text", "json_object")),
            _object(
                ("type", "name", "schema"), type=_word("json_schema"), name=ANY_TEXT, schema=OBJECT, strict=BOOLEAN
            ),
        )
    ),
    "tool_choice": _any(
        _word("none", "auto", "required"), _object(("type", "name"), type=_word("function"), name=ANY_TEXT)
    ),
    "tools": _list(
        _object(("type", "name"), type=_word("function"), name=ANY_TEXT, parameters=OBJECT, strict=BOOLEAN), 128
    ),
    "top_logprobs": _integer(0, 20),
    "top_p": _number(0, 1),
    "truncation": _word("disabled"),
    "user": _OURS["user"],
    "variables": _VALUES,
}


def paths() -> dict[str, Schema]:
    """The `paths` of the routes under /v1."""
    models = "What `model` may be; in Anthropic's form for requests with anthropic-version."
    one = {"name": "model", "in": "path", "required": True, "schema": ANY_TEXT}
    return {
        "/v1/chat/completions": _post("OpenAI's chat completions, streamed or whole.", ("messages",), CHAT),
        "/v1/completions": _post("OpenAI's text completions, streamed or whole.", ("prompt",), COMPLETION),
        "/v1/responses": _post("OpenAI's responses, stateless, streamed or whole.", ("input",), RESPONSE),
        "/v1/messages": _post("Anthropic's messages, streamed or whole.", ("max_tokens", "messages"), MESSAGE),
        "/v1/messages/count_tokens": _post("How many tokens a message has.", ("messages",), PROMPT),
        "/v1/embeddings": _post("OpenAI's embeddings.", ("input",), EMBEDDING),
        "/v1/models": {"get": _operation(models)},
        "/v1/models/{model}": {"get": {**_operation("One of the models."), "parameters": [one]}},
    }


def _post(summary: str, needed: tuple[str, ...], fields: dict[str, Schema]) -> Schema:
    schema = _object(("model", *needed), **fields)
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {"post": {**_operation(summary), "requestBody": body}}


def _operation(summary: str) -> Schema:
    answer = {"description": "OK", "content": {"application/json": {"schema": OBJECT}}}
    return {"tags": ["models"], "summary": summary, "responses": {"200": answer}}
