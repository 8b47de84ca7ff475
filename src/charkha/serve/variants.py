"""How a variant is made of what a person asks for: the model and adapters of registered versions, put together.

Boundary: the only place where a request names adapters. It names versions of the workspace; digests come from them.
"""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

import msgspec

from charkha.core.errors import Conflict, Invalid
from charkha.core.ids import uuid7
from charkha.kit.db import Tx
from charkha.serve.dialects.openai import check_parameters
from charkha.serve.domain import Adapter, Variant, check_variant
from charkha.serve.prompts import service as prompts
from charkha.serve.prompts.domain import PromptVersion
from charkha.serve.routing.domain import PLAIN, Alternative, Routing, check_routing
from charkha.serve.versions import FIRST_BASE, Versions


class BlendSpec(msgspec.Struct, frozen=True):
    """A version whose adapters are wanted, as id, `name@number` or `name@alias`, and how strongly."""

    version: str
    weight: float = 1.0


class VariantSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A variant as it is asked for: a `version`, or a `model` on an `engine` with a blend of versions on it.

    A `model` alone is a base model by its name; without either it is the installation's first base model. `prompt` is
    a version of a prompt, as `name@number`, or `name` for the newest; then there is no `system_prompt` beside it.
    """

    name: str = "base"
    engine: str | None = None
    model: str | None = None
    version: str | None = None
    adapters: list[BlendSpec] = []
    system_prompt: str | None = None
    prompt: str | None = None
    parameters: dict[str, Any] = {}
    alternatives: list[Alternative] = []
    routing: Routing = PLAIN


async def make(
    tx: Tx, endpoint_id: UUID, spec: VariantSpec, *, versions: Versions, engines: Collection[str]
) -> Variant:
    """The variant that a spec describes, not yet stored. Raises Invalid, NotFound, or Conflict for mixed bases."""
    of = None if spec.engine else await versions.get(tx, spec.version or spec.model or FIRST_BASE)
    engine, model = spec.engine or (of and of.engine), spec.model or (of and of.base_model)
    if not engine or not model:
        raise Invalid(
            "A variant needs an engine and a model, or a version.", remedy="Name one of both.", param="variant"
        )
    if engine not in engines:
        raise Invalid(
            f"There is no engine '{engine}'.", param="engine", remedy=f"There are: {', '.join(sorted(engines))}."
        )
    prompt = await _prompt(tx, spec)
    blend = spec.adapters or ([BlendSpec(spec.version)] if spec.version else [])
    variant = Variant(
        id=uuid7(),
        endpoint_id=endpoint_id,
        name=spec.name,
        engine=engine,
        model=model,
        version_id=of.id if of else None,
        adapters=await blended(tx, blend, engine=engine, model=model, versions=versions),
        system_prompt=spec.system_prompt if spec.system_prompt is not None else (of.system_prompt if of else None),
        parameters=spec.parameters,
        alternatives=spec.alternatives,
        routing=spec.routing,
        prompt=prompt.reference if prompt else None,
        prompt_version_id=prompt.id if prompt else None,
    )
    check(variant)
    check_routing(variant.alternatives, variant.routing, engines)
    return variant


async def _prompt(tx: Tx, spec: VariantSpec) -> PromptVersion | None:
    """The version of a prompt that a spec names, as it is now: a later version of the prompt changes no variant."""
    if spec.prompt is None:
        return None
    if spec.system_prompt is not None:
        raise Invalid(
            "A variant has a system prompt or a prompt, not both.",
            param="prompt",
            remedy="Put the system prompt into the prompt as its first message.",
        )
    return await prompts.find(tx, spec.prompt)


async def blended(tx: Tx, blend: Sequence[BlendSpec], *, engine: str, model: str, versions: Versions) -> list[Adapter]:
    """The adapters of the versions in a blend, each with its own weight times the one that is asked for."""
    adapters = []
    for part in blend:
        version = await versions.get(tx, part.version)
        if version.adapters and (version.engine, version.base_model) != (engine, model):
            raise Conflict(
                f"The adapters of '{part.version}' are for {version.base_model} on {version.engine}, not {model}.",
                param="adapters",
                remedy="Blend versions of one base model.",
            )
        adapters += [Adapter(digest, weight * part.weight, version.id) for digest, weight in version.adapters]
    return adapters


def check(variant: Variant) -> None:
    """Raise Invalid for a variant that could not be served."""
    check_variant(variant.name, variant.adapters, variant.system_prompt)
    for parameters in (variant.parameters, *(each.parameters for each in variant.alternatives)):
        check_parameters(parameters)
