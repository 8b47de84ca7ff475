"""Where the key of somebody else's service comes from: from Charkha, which keeps it sealed, or from the environment."""

import os

from charkha.serve.ports import EngineDeps


def provider_key(deps: EngineDeps, variable: str) -> str:
    """The key; "" where the service wants none. Raises ValueError for an environment variable that is not set."""
    if deps.api_key is not None:
        return deps.api_key
    key = os.environ.get(variable, "") if variable else ""
    if variable and not key:
        raise ValueError(f"the environment variable {variable} is not set; set it, or api_key_env to ''")
    return key
