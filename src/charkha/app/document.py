"""The OpenAPI document: FastAPI's, with the routes that FastAPI does not serve, the one form of errors, and the key."""

from typing import Any

from fastapi import FastAPI

from charkha.serve import described

_ERROR = "Error"
_PUBLIC = ("/healthz", "/readyz", "/metrics")
_SCHEMA = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "code"],
            "properties": {
                "message": {"type": "string", "description": "What is wrong, and what to do."},
                "type": {"type": "string"},
                "code": {"type": "string", "description": "A stable word for programs."},
                "param": {"type": ["string", "null"], "description": "What of the request it is about."},
                "remedy": {"type": ["string", "null"], "description": "What to do."},
            },
        }
    },
}
_REFUSED = {
    "description": "An error. Anthropic's routes tell it in Anthropic's form.",
    "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{_ERROR}"}}},
}


def install(app: FastAPI) -> None:
    """Have `app` tell the whole document, made when it is first asked for."""
    plain = app.openapi

    def whole() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(plain())
        return app.openapi_schema

    app.openapi = whole  # type: ignore[method-assign]


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    document["paths"] |= described.paths()
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own form, in which no error is told here
        schemas.pop(name, None)
    schemas[_ERROR] = _SCHEMA
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "charkha_sk_…"}}
    document["security"] = [{"key": []}]
    for path, methods in document["paths"].items():
        for operation in methods.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = _REFUSED
            if path in _PUBLIC:
                operation["security"] = []
    return document
