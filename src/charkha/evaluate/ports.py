"""What evaluation needs of other stations: data sets, versions, endpoints, model files, and answers through the gateway.

The values are protocols as well: a provider answers with its own small structs, which have these fields.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol
from uuid import UUID

from charkha.core.messages import Example, Message
from charkha.kit.db import Tx


class HeldOut(Protocol):
    """The data set version of a suite. `labels`: the classes in it, if its examples have any."""

    @property
    def id(self) -> UUID: ...
    @property
    def examples(self) -> int: ...
    @property
    def labels(self) -> Sequence[str] | None: ...


class Datasets(Protocol):
    """Immutable data set versions. Every method raises NotFound for an unknown one."""

    async def version(self, tx: Tx, version_id: UUID) -> HeldOut:
        """A version."""
        ...

    async def examples(self, tx: Tx, version_id: UUID) -> list[Example]:
        """Its examples, in order."""
        ...

    async def text_hashes(self, tx: Tx, version_id: UUID) -> set[bytes]:
        """The hashes of its texts."""
        ...


class EvaluatedVersion(Protocol):
    """A registered version as it is measured.

    `kind` is "base" or "adapter". The blobs are the adapter in PEFT's form, None for a base model or an adapter that
    came as GGUF alone. `callable_name` is what the gateway calls it by, None where it cannot be called.
    """

    @property
    def id(self) -> UUID: ...
    @property
    def kind(self) -> str: ...
    @property
    def base_model(self) -> str: ...
    @property
    def safetensors_blob(self) -> str | None: ...
    @property
    def config_blob(self) -> str | None: ...
    @property
    def callable_name(self) -> str | None: ...
    @property
    def system_prompt(self) -> str | None: ...


class Versions(Protocol):
    """The registry."""

    async def get(self, tx: Tx, version_id: UUID) -> EvaluatedVersion:
        """A version. Raises NotFound."""
        ...


class Endpoints(Protocol):
    """The endpoints that serve."""

    async def resolve(self, tx: Tx, name_or_id: str) -> UUID:
        """The id of an endpoint. Raises NotFound."""
        ...


class Incumbents(Protocol):
    """What candidates are compared with."""

    async def of(self, tx: Tx, endpoint_id: UUID) -> UUID | None:
        """The version that answers most of an endpoint's traffic, if it is a registered one. Raises NotFound."""
        ...


class ModelFiles(Protocol):
    """The files of base models on this machine."""

    def gguf(self, model: str) -> Path:
        """The GGUF file of a model. Raises NotFound for one that is served elsewhere."""
        ...


class Answers(Protocol):
    """Charkha's own gateway, so that what is measured is what users get."""

    async def ask(self, workspace_id: UUID, model: str, messages: Sequence[Message], max_tokens: int) -> str:
        """The greedy answer of a model. Raises Unavailable for what may pass, Invalid for what will not."""
        ...
