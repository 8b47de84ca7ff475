"""A miniature model in torch's form, and engines on it: everything in one thread, in bfloat16."""

import hashlib
import queue
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from charkha.core.errors import CharkhaError
from charkha.serve.engines.models import find_model
from charkha.testing.tiny import make_tiny_adapter, make_tiny_gguf

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from charkha.kit.weights.hf import hf_directory  # noqa: E402
from charkha.serve.engines.loom.engine import LoomEngine, Room  # noqa: E402
from charkha.serve.engines.loom.sampling import Sampling  # noqa: E402
from charkha.serve.engines.loom.text import Text  # noqa: E402
from charkha.serve.engines.loom.work import Event, Generation, Piece, Work  # noqa: E402

ROOM = Room(slots=4, context=256, blocks=4, beside=16, alone=48)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("loom")
    return make_tiny_gguf(directory / "tiny.gguf", find_model(None, directory).path)


@pytest.fixture(scope="session")
def directory(tiny: Path) -> Path:
    return hf_directory(tiny, tiny.parent / "models")


@pytest.fixture(scope="session")
def text(directory: Path) -> Text:
    return Text(directory)


@pytest.fixture(scope="session")
def adapters(tiny: Path) -> dict[str, Path]:
    """Ten adapters by their digests; the last has twice a block's ranks."""
    files = [make_tiny_adapter(tiny.parent / f"{seed}.gguf", tiny, seed, rank=4) for seed in range(1, 10)]
    files.append(make_tiny_adapter(tiny.parent / "high.gguf", tiny, 10, rank=24))
    return {hashlib.sha256(file.read_bytes()).hexdigest(): file for file in files}


class Asker:
    """Requests to an engine, as a test writes them."""

    def __init__(self, engine: LoomEngine, text: Text) -> None:
        self.engine, self.text = engine, text

    def start(self, prompt: str, *blend: tuple[str, float], most: int = 8, share: Any = None, **how: Any) -> "Asked":
        sampling = Sampling(**{"temperature": 0.0, **how})
        return Asked(
            self.engine,
            lambda emit: Generation(
                self.text, most, sampling, tokens=self.text.plain(prompt), blend=blend, share=share, emit=emit
            ),
        )

    def __call__(self, prompt: str, *blend: tuple[str, float], **how: Any) -> str:
        return self.start(prompt, *blend, **how).answer()


class Asked:
    """A request that runs."""

    def __init__(self, engine: LoomEngine, make: Callable[[Callable[[Event], None]], Work]) -> None:
        self.events: queue.Queue[Event] = queue.Queue()
        self.work = make(self.events.put)
        self.engine = engine
        engine.submit(self.work)

    def result(self) -> Event:
        """The next event; an error is raised."""
        event = self.events.get(timeout=20)
        if isinstance(event, CharkhaError):
            raise event
        return event

    def pieces(self) -> list[Piece]:
        found: list[Piece] = []
        while not found or found[-1].finish is None:
            event = self.result()
            assert isinstance(event, Piece)
            found.append(event)
        return found

    def answer(self) -> str:
        return "".join(piece.text for piece in self.pieces())


@pytest.fixture
def engines(directory: Path, adapters: dict[str, Path]) -> Iterator[Callable[[Room], LoomEngine]]:
    """Makes engines that know all adapters, and stops them."""
    made: list[LoomEngine] = []

    def make(room: Room = ROOM, known: Sequence[str] = ()) -> LoomEngine:
        engine = LoomEngine(directory, torch.bfloat16, room)
        for digest in known or adapters:
            engine.add(digest, adapters[digest])
        engine.start()
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.stop()


@pytest.fixture
def ask(engines: Callable[..., LoomEngine], text: Text) -> Asker:
    return Asker(engines(), text)
