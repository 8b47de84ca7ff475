"""The engine plugin for the embedded llama.cpp: an `EmbeddedEngine` whose process is `charkha.serve.engines.llama_server`."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from charkha.serve.engines.embedded import EmbeddedEngine
from charkha.serve.engines.models import find_model, served_form
from charkha.serve.ports import EngineDeps

name = "llama_cpp"


class Config(BaseModel):
    """Settings of the embedded engine. `context` is the tokens of each of the `parallel` requests answered at once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("local", pattern=r"^[a-z0-9_-]{1,64}$")
    model_path: Path | None = None
    model_name: str = Field("smollm2-135m-instruct", min_length=1, max_length=200)
    convert: bool = True
    parallel: int = Field(8, ge=1, le=64)
    context: int = Field(2048, ge=64, le=131_072)
    threads: int = Field(2, ge=1, le=256)
    max_adapters: int = Field(256, ge=1, le=4096)


def build(config: Config, deps: EngineDeps) -> "LlamaCpp":
    """The engine; its process need not run yet."""
    return LlamaCpp(config, deps)


class LlamaCpp(EmbeddedEngine):
    """llama.cpp, which computes one blend of adapters at a time."""

    module = "charkha.serve.engines.llama_server"

    def __init__(self, config: Config, deps: EngineDeps) -> None:
        super().__init__(config.name, deps)
        self._config = config

    def process_config(self, home: Path, directory: Path, token: str) -> dict[str, Any]:
        """The configuration of `llama_server`."""
        model = find_model(self._config.model_path, home / "models")
        return {
            "model_path": str(model.path),
            "base_hash": model.sha256,
            "served_path": str(served_form(model, home / "models")) if self._config.convert else "",
            "model_name": self._config.model_name,
            "token": token,
            "adapter_dir": str(directory / "adapters"),
            "run_dir": str(directory / "run"),
            "ready_file": str(directory / "ready.json"),
            "parallel": self._config.parallel,
            "context": self._config.context,
            "threads": self._config.threads,
            "max_adapters": self._config.max_adapters,
        }
