"""Errors that a person or a client is told of. Each says what is wrong and what to do; each carrier renders it its own way."""


class CharkhaError(Exception):
    """Something a caller can act on.

    `message` says what is wrong, `remedy` what to do about it, `param` which input it is about, `code` is a stable
    snake_case word for programs. `status` is the HTTP status and `exit_code` the exit status of the CLI.
    """

    status = 500
    code = "internal_error"
    exit_code = 1

    def __init__(self, message: str, *, remedy: str = "", param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message, self.remedy, self.param = message, remedy, param
        if code:
            self.code = code

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class Invalid(CharkhaError):
    """The input is wrong; sending it again cannot help."""

    status, code, exit_code = 400, "invalid_request", 2


class Unauthenticated(CharkhaError):
    """No key, or one that is unknown, expired or revoked."""

    status, code, exit_code = 401, "invalid_api_key", 3


class Forbidden(CharkhaError):
    """The key is good but may not do this."""

    status, code, exit_code = 403, "permission_denied", 3


class NotFound(CharkhaError):
    """There is no such thing in this workspace."""

    status, code, exit_code = 404, "not_found", 4


class Conflict(CharkhaError):
    """The state has moved on, or the same idempotency key came with another body."""

    status, code, exit_code = 409, "conflict", 5


class TooLarge(CharkhaError):
    """A body, header or file is over its cap."""

    status, code, exit_code = 413, "too_large", 2


class Unavailable(CharkhaError):
    """A part that is needed is not there now; trying again later can help."""

    status, code, exit_code = 503, "unavailable", 6
    retry_after = 1


class Timeout(Unavailable):
    """A part that is needed did not answer inside its deadline."""

    status, code = 504, "timeout"


class SlowBody(Timeout):
    """The client did not send its body in time."""

    status, code = 408, "request_timeout"


class StorageFull(CharkhaError):
    """The disk is full: what was asked was not done, and nothing was damaged."""

    status, code, exit_code = 507, "storage_full", 6


class LimitReached(CharkhaError):
    """A limit leaves no room for this request now. `retry_after`: seconds until there can be some."""

    status, code, exit_code = 429, "rate_limit_exceeded", 6

    def __init__(self, message: str, *, remedy: str = "", code: str | None = None, retry_after: int = 1) -> None:
        super().__init__(message, remedy=remedy, code=code)
        self.retry_after = max(1, retry_after)


class Misconfigured(CharkhaError):
    """A setting is wrong or missing; the message names the key."""

    status, code, exit_code = 500, "misconfigured", 7
