"""What learning needs of other stations: the log's contents, data sets, suites, endpoints and the files of models.

The values are protocols as well: a provider answers with its own small structs, which have these fields.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from charkha.core.messages import Example, Message
from charkha.kit.db import Tx
from charkha.kit.lineage import Node


class InferenceContent(Protocol):
    """What was asked and answered in one inference. An empty prompt: the endpoint keeps no content."""

    @property
    def id(self) -> UUID: ...
    @property
    def endpoint_id(self) -> UUID | None: ...
    @property
    def prompt(self) -> tuple[Message, ...]: ...
    @property
    def answer(self) -> str: ...
    @property
    def subject_id(self) -> str | None: ...


class Inferences(Protocol):
    """The inference log."""

    async def contents(self, tx: Tx, ids: Sequence[UUID]) -> Mapping[UUID, InferenceContent]:
        """The contents of those of `ids` that are in the log with their content."""
        ...

    async def known(self, tx: Tx, ids: Sequence[UUID]) -> Collection[UUID]:
        """Those of `ids` that are in the log; the others have not been shipped yet, or never will be."""
        ...

    async def count_kept(self, tx: Tx, endpoint_id: UUID, ids: Sequence[UUID]) -> int:
        """How many of `ids` are inferences of an endpoint whose content is kept."""
        ...


class Lesson(Protocol):
    """What feedback teaches about one inference. `answer` is the wanted one; None where what was answered was right."""

    @property
    def feedback_id(self) -> UUID: ...
    @property
    def inference_id(self) -> UUID: ...
    @property
    def answer(self) -> str | None: ...


class Feedback(Protocol):
    """The feedback of this station."""

    async def lessons(self, tx: Tx, *, after: UUID | None = None) -> Sequence[Lesson]:
        """One lesson for each inference that feedback teaches something about, of feedback later than `after`."""
        ...

    async def teaching(self, tx: Tx, *, after: UUID | None = None) -> Sequence[UUID]:
        """The inferences that `lessons` would have a lesson about."""
        ...


class FrozenDataset(Protocol):
    """An immutable version of a data set."""

    @property
    def id(self) -> UUID: ...
    @property
    def examples(self) -> int: ...


class Datasets(Protocol):
    """Data sets and their immutable versions."""

    async def freeze(
        self,
        tx: Tx,
        *,
        name: str,
        examples: Sequence[Example],
        report: dict[str, Any],
        sources: Iterable[Node] = (),
        held_out: Collection[bytes] = (),
    ) -> FrozenDataset:
        """Clean the examples, leave out what is held out, and freeze the rest as a version of the data set `name`."""
        ...

    async def version(self, tx: Tx, version_id: UUID) -> FrozenDataset:
        """A version. Raises NotFound."""
        ...

    async def examples(self, tx: Tx, version_id: UUID) -> list[Example]:
        """The examples of a version, in order. Raises NotFound."""
        ...


class Suites(Protocol):
    """Evaluation suites, whose texts must never be learned from."""

    async def held_out_hashes(self, tx: Tx, endpoint_id: UUID) -> Collection[bytes]:
        """The text hashes of everything held out for an endpoint."""
        ...


class TrainingBase(Protocol):
    """An endpoint as training sees it: its name, the base model and its engine, and the closed set of answers if any."""

    @property
    def name(self) -> str: ...
    @property
    def engine(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def system_prompt(self) -> str | None: ...
    @property
    def labels(self) -> Sequence[str] | None: ...


class Endpoints(Protocol):
    """The endpoints that serve."""

    async def training_base(self, tx: Tx, endpoint_id: UUID) -> TrainingBase:
        """The base of an endpoint. Raises NotFound, or Invalid where it is served by an engine that cannot be trained."""
        ...


class ModelFiles(Protocol):
    """The files of base models on this machine."""

    def gguf(self, model: str) -> Path:
        """The GGUF file of a model. Raises NotFound."""
        ...
