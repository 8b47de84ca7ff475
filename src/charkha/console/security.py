"""What keeps a page the visitor's own: the cookie, the headers of every answer, and the token of every change.

Nothing is loaded from elsewhere, nothing runs that we did not send, no page can be framed, and a change is made only
with a token that this session's pages carry (beside SameSite=Strict, which browsers enforce by themselves).
"""

from fastapi import Request
from fastapi.responses import Response

COOKIE = "__Host-charkha"
CSRF_HEADER, CSRF_FIELD = "x-csrf-token", "csrf"
_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), interest-cohort=()",
    "cache-control": "no-store",
    "vary": "cookie, hx-request",
}


def protect(response: Response, nonce: str) -> Response:
    """Set the headers of a page on its answer; scripts run only with `nonce`."""
    response.headers.update(HEADERS)
    response.headers["content-security-policy"] = _POLICY.format(nonce=nonce)
    return response


def set_cookie(response: Response, value: str, *, seconds: int) -> None:
    """Keep a session in the browser: for this host alone, never for scripts, never on requests from other sites."""
    response.set_cookie(COOKIE, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="strict")


def drop_cookie(response: Response) -> None:
    """Forget the session in the browser."""
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")


def is_cross_site(request: Request) -> bool:
    """Whether another site's link brought the visitor, so that the browser withheld the cookie this once."""
    return request.headers.get("sec-fetch-site") == "cross-site" and request.headers.get("sec-fetch-mode") == "navigate"
