"""What a browser carries to sign in: the texts of sign-in links and cookies, and the tokens of a session's forms.

Boundary: the only code that makes or reads these texts. Each names its workspace and its row before its secret, so that
the row is found under row-level security; what is stored of it is an HMAC of the whole text.
"""

import hmac
import re
import secrets as random
from typing import NamedTuple
from uuid import UUID

from charkha.core.errors import Unauthenticated

LINK_PREFIX, COOKIE_PREFIX = "charkha_link_", ""
_FORM = re.compile(r"([0-9a-f]{32})\.([0-9a-f]{32})\.[A-Za-z0-9_-]{43}")


class Named(NamedTuple):
    """The row that a link or cookie names."""

    workspace_id: UUID
    id: UUID


def make(prefix: str, workspace_id: UUID, row_id: UUID) -> str:
    """A fresh text for a row: `<prefix><workspace>.<row>.<256 random bits>`."""
    return f"{prefix}{workspace_id.hex}.{row_id.hex}.{random.token_urlsafe(32)}"


def read(prefix: str, text: str) -> Named:
    """The row that a text names, whether or not it is there. Raises Unauthenticated for what we never made."""
    found = _FORM.fullmatch(text.removeprefix(prefix)) if text.startswith(prefix) else None
    if found is None:
        raise not_signed_in()
    return Named(UUID(found[1]), UUID(found[2]))


def not_signed_in() -> Unauthenticated:
    """The one refusal: it does not tell whether a link or cookie was used, ended, expired, changed or invented."""
    return Unauthenticated(
        "You are not signed in: this sign-in has ended, was used before, or never was.",
        remedy="`charkha console` prints a new sign-in link.",
        code="not_signed_in",
    )


def form_token(key: bytes, cookie: str) -> str:
    """What the pages of a cookie's session send with each change: 64 hexadecimal digits."""
    return hmac.new(key, cookie.encode(errors="surrogatepass"), "sha256").hexdigest()


def same(one: str, other: str | None) -> bool:
    """Whether two texts are equal, in a time that does not tell how far they are."""
    return hmac.compare_digest(one.encode(errors="surrogatepass"), (other or "").encode(errors="surrogatepass"))
