"""The engine plugin `loom`: mixed LoRA adapters in one batch, in torch. Its process is `charkha.serve.engines.loom.server`.

Takes the adapters that llama.cpp takes, under the same digests, so an endpoint may move between the two. Needs the extras
`engine` and `train`; nothing here imports torch.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from charkha.serve.engines.embedded import EmbeddedEngine
from charkha.serve.engines.models import find_model
from charkha.serve.ports import EngineDeps

name = "loom"


class Config(BaseModel):
    """Settings of the engine. `context` is the most tokens of each of the `parallel` requests answered at once.

    `cache_mb` bounds keys and values, `warm_ranks` the ranks of all adapters in memory together (16 for each at least).
    `precision` "bfloat16" makes an answer independent of what else is in the batch; "float32" only up to rounding.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("loom", pattern=r"^[a-z0-9_-]{1,64}$")
    model_path: Path | None = None
    model_name: str = Field("smollm2-135m-instruct", min_length=1, max_length=200)
    parallel: int = Field(8, ge=1, le=64)
    context: int = Field(2048, ge=64, le=131_072)
    threads: int = Field(2, ge=1, le=256)
    max_adapters: int = Field(1024, ge=1, le=65_536)
    warm_ranks: int = Field(256, ge=16, le=16_384)
    cache_mb: int = Field(256, ge=1, le=1 << 20)
    precision: Literal["bfloat16", "float32"] = "bfloat16"


def build(config: Config, deps: EngineDeps) -> "Loom":
    """The engine; its process need not run yet."""
    return Loom(config, deps)


class Loom(EmbeddedEngine):
    """A model in torch, every row of whose batch may use other adapters."""

    module = "charkha.serve.engines.loom.server"

    def __init__(self, config: Config, deps: EngineDeps) -> None:
        super().__init__(config.name, deps)
        self._config = config

    def process_config(self, home: Path, directory: Path, token: str) -> dict[str, Any]:
        """The configuration of `loom.server`."""
        model = find_model(self._config.model_path, home / "models")
        chosen = ("model_name", "parallel", "context", "threads", "max_adapters", "warm_ranks", "cache_mb", "precision")
        return {
            "model_path": str(model.path),
            "base_hash": model.sha256,
            "models_dir": str(home / "models"),
            "token": token,
            "adapter_dir": str(directory / "adapters"),
            "run_dir": str(directory / "run"),
            "ready_file": str(directory / "ready.json"),
            **{field: getattr(self._config, field) for field in chosen},
        }
