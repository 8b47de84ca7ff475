"""Plugins: modules with a `name`, a pydantic `Config` and `build(config, deps)`, found by entry point, loaded lazily.

Built-ins come through the same door as anybody's. A plugin raises plain errors; `boundary` classifies them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from charkha.core.errors import CharkhaError, Invalid, Misconfigured, StorageFull, Timeout, Unavailable


def available(kind: str) -> dict[str, EntryPoint]:
    """Plugins of a kind (`engines`, `recipes`, …) by name; none of them is imported."""
    return {point.name: point for point in entry_points(group=f"charkha.{kind}")}


def load(kind: str, name: str) -> ModuleType:
    """Import a plugin. Raises Invalid naming what there is, or Misconfigured if its extra is not installed."""
    found = available(kind)
    if name not in found:
        raise Invalid(f"There is no {kind} plugin '{name}'.", remedy=f"Known: {', '.join(sorted(found)) or 'none'}.")
    try:
        module: ModuleType = found[name].load()
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"The plugin '{name}' needs the package '{error.name}'.", remedy="Install it, or Charkha's extra for it."
        ) from error
    return module


def configured(plugin: ModuleType, values: dict[str, Any]) -> Any:
    """The plugin's Config from raw values. Raises Invalid naming the first wrong field."""
    try:
        return plugin.Config.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise Invalid(f"{plugin.name}: {field}: {first['msg']}.", param=field, remedy="Correct that field.") from error


@contextmanager
def boundary(what: str) -> Iterator[None]:
    """Turn a plugin's plain errors into ours: timeouts, refused connections, a full disk, wrong values."""
    try:
        yield
    except CharkhaError:
        raise
    except TimeoutError as error:
        raise Timeout(f"{what} did not answer in time.", remedy="Try again, or raise its deadline.") from error
    except ConnectionError as error:
        raise Unavailable(f"{what} cannot be reached.", remedy="It is restarted if it is ours; try again.") from error
    except OSError as error:
        if error.errno == 28:
            raise StorageFull(f"{what} found the disk full.", remedy="Free space on the disk.") from error
        raise Unavailable(f"{what} failed: {error}.", remedy="See its log.") from error
    except ValueError as error:
        raise Invalid(f"{what}: {error}") from error
