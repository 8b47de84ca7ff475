"""HTTP as every station's routes speak it: results are msgspec values, errors are one JSON object with a remedy.

Boundary: the only place where a result becomes bytes and an error becomes a status, for the control plane.
"""

import functools
import inspect
import json
from collections.abc import Callable
from typing import Any

import msgspec
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from charkha.core.errors import CharkhaError, Invalid, LimitReached, Unavailable
from charkha.kit import telemetry

_CLIENT_CLOSED = 499  # nginx's number for a client that closed the connection
_CODES = {404: "unknown_url", 405: "method_not_allowed"}
log = telemetry.logger(__name__)


class Router(APIRouter):
    """An APIRouter whose handlers return msgspec Structs, dataclasses, lists, dicts, UUIDs and datetimes."""

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Register a handler; what it returns is described in OpenAPI by msgspec and encoded by it."""
        returned = inspect.signature(endpoint, eval_str=True).return_annotation
        status = options.get("status_code") or 200
        options["response_model"] = None
        if returned is not inspect.Signature.empty and not _is_response(returned):
            options["responses"] = {status: _described(returned), **(options.get("responses") or {})}
            endpoint = _encoded(endpoint, status)
        super().add_api_route(path, endpoint, **options)


def _is_response(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Response)


def _described(kind: Any) -> dict[str, Any]:
    """The OpenAPI description of a result type, its definitions written in place."""
    (schema,), definitions = msgspec.json.schema_components([kind], ref_template="{name}")
    return {"description": "OK", "content": {"application/json": {"schema": _inlined(schema, definitions)}}}


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(schema, dict):
        if "$ref" in schema:
            return _inlined(definitions[schema["$ref"]], definitions)
        return {key: _inlined(value, definitions) for key, value in schema.items()}
    if isinstance(schema, list):
        return [_inlined(each, definitions) for each in schema]
    return schema


def _encoded(endpoint: Callable[..., Any], status: int) -> Callable[..., Any]:
    @functools.wraps(endpoint)
    async def handler(*args: Any, **kwargs: Any) -> Response:
        result = endpoint(*args, **kwargs)
        if inspect.isawaitable(result):
            result = await result
        return Response(msgspec.json.encode(result), status_code=status, media_type="application/json")

    handler.__signature__ = inspect.signature(endpoint, eval_str=True).replace(return_annotation=Response)  # type: ignore[attr-defined]
    return handler


def error_body(error: CharkhaError) -> dict[str, Any]:
    """The error object that every route answers with: OpenAI's, with our `remedy` beside it."""
    kind = "server_error" if error.status >= 500 else error.code
    return {
        "error": {
            "message": str(error),
            "type": kind,
            "param": error.param,
            "code": error.code,
            "remedy": error.remedy or None,
        }
    }


def error_response(error: CharkhaError) -> Response:
    """The response for one of our errors."""
    headers = {"retry-after": str(error.retry_after)} if isinstance(error, Unavailable | LimitReached) else {}
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    try:
        body = msgspec.json.encode(error_body(error))
    except UnicodeEncodeError:  # it quotes what was sent, and that has half of a surrogate pair
        body = json.dumps(error_body(error)).encode()
    return Response(body, error.status, headers, "application/json")


def install_errors(app: FastAPI) -> None:
    """Answer our errors, wrong bodies and faults in one form; a fault is logged whole and told without its insides."""

    @app.exception_handler(CharkhaError)
    async def known(_: Request, error: CharkhaError) -> Response:
        return error_response(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
        wrong = CharkhaError(
            f"{field or 'body'}: {first['msg']}.", param=field or None, remedy="Correct it and send again."
        )
        wrong.status, wrong.code = 422, "invalid_request"
        return error_response(wrong)

    @app.exception_handler(ClientDisconnect)
    async def left(_: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=_CLIENT_CLOSED)  # nobody reads it

    @app.exception_handler(UnicodeEncodeError)
    async def no_text(_: Request, error: UnicodeEncodeError) -> Response:
        wrong = Invalid("A string in the body has half of a surrogate pair.", remedy="Send it as UTF-8, or whole.")
        return error_response(wrong)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        what = f"{request.method} {request.url.path[:200]}: {error.detail}."
        told = CharkhaError(
            what, remedy="See /docs for what there is.", code=_CODES.get(error.status_code, "invalid_request")
        )
        told.status = error.status_code
        answer = error_response(told)
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> Response:
        log.error("http.fault", path=request.url.path, exc_info=error)
        return error_response(CharkhaError("Something went wrong inside Charkha.", remedy="Its log says what."))
