"""How commands find the running Charkha: CHARKHA_URL and CHARKHA_API_KEY, or the files that `up` left in the home."""

import os

from charkha.app import settings
from charkha.client import Charkha
from charkha.core.errors import Unauthenticated, Unavailable

KEY_FILE, ADDRESS_FILE = "secrets/operator.key", "run/address"


def connect(workspace: str | None = None) -> Charkha:
    """A client for the running installation, as its operator unless CHARKHA_API_KEY says otherwise."""
    return Charkha(address(), api_key(), workspace=workspace)


def address() -> str:
    """Where the gateway listens."""
    if url := os.environ.get("CHARKHA_URL"):
        return url
    try:
        return (settings.default_home() / ADDRESS_FILE).read_text().strip()
    except FileNotFoundError:
        raise Unavailable(
            f"Nothing runs in {settings.default_home()}.", remedy="Start it with `charkha up`, or set CHARKHA_URL."
        ) from None


def api_key() -> str:
    """The operator's key of this home, unless the environment brings one."""
    if key := os.environ.get("CHARKHA_API_KEY"):
        return key
    path = settings.default_home() / KEY_FILE
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        raise Unauthenticated(f"There is no operator key at {path}.", remedy="Set CHARKHA_API_KEY.") from None
    except PermissionError:
        raise Unauthenticated(
            f"{path} belongs to another user.", remedy="Set CHARKHA_API_KEY, or run as the user who ran `charkha up`."
        ) from None
