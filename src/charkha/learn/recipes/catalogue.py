"""Which recipes are installed, and what can be chosen of each: what a form or a script needs to start a run.

Boundary: reads a recipe's configuration as JSON schema; no recipe is run, and none of them imports torch for it.
"""

from typing import Any

import msgspec

from charkha.core.errors import CharkhaError
from charkha.kit import plugins


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """A recipe. `config` is the JSON schema of its configuration.

    `problem` says why it cannot be used here, and is None where it can; then `config` is empty.
    """

    name: str
    description: str
    config: dict[str, Any]
    problem: str | None = None


def recipes() -> list[Recipe]:
    """Every installed recipe, by name."""
    return [_told(name) for name in sorted(plugins.available("recipes"))]


def _told(name: str) -> Recipe:
    try:
        module = plugins.load("recipes", name)
    except CharkhaError as error:
        return Recipe(name=name, description="", config={}, problem=str(error))
    first_line = (module.__doc__ or "").strip().partition("\n")[0]
    return Recipe(
        name=name,
        description=getattr(module, "description", first_line),
        config=module.Config.model_json_schema(),
    )
