"""One llama.cpp server with a fixed list of adapters, in a process of its own.

Boundary: the only process that runs llama.cpp's native code. It reads one JSON line from standard input (`Spec`), listens
on a Unix socket in its working directory, writes `{"event": "ready"}` and lives until its standard input or its parent
ends. A crash here costs the requests that it was answering, never the engine process that started it.
"""

import sys
from typing import Any

import msgspec

from charkha.kit.weights.child import Reporter, die_with_parent


class Spec(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What to serve: `adapters` are GGUF files, numbered by their place; `context` is the tokens of one of `parallel`."""

    model: str
    alias: str
    adapters: list[str]
    socket: str
    key: str
    parallel: int
    context: int
    threads: int
    embeddings: bool = False


def parameters(spec: Spec) -> Any:
    """llama.cpp's parameters for `spec`."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.model_alias = spec.model, {spec.alias}
    params.hostnames, params.port, params.api_keys = [spec.socket], 0, [spec.key]
    params.ui, params.endpoint_slots, params.verbosity = False, False, 1
    params.n_parallel, params.n_ctx = spec.parallel, spec.parallel * spec.context
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = spec.threads
    # llama.cpp's cache of prompts in memory does not remember with which adapters a prompt was read: one adapter's
    # prompt would be taken for another's. Slots do remember, and keep the prefix that their last prompt shares.
    params.cache_ram_mib = 0
    params.warmup = False
    # Built with scale 1, an adapter would be applied to every request that names none.
    params.lora_adapters = [_unapplied(xllamacpp, path) for path in spec.adapters]
    if spec.embeddings:
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        params.n_batch = params.n_ubatch = spec.context  # a text to embed is read in one piece
    return params


def _unapplied(xllamacpp: Any, path: str) -> Any:
    adapter = xllamacpp.CommonAdapterLoraInfo()
    adapter.path, adapter.scale = path, 0.0
    return adapter


def main() -> None:
    """Serve until standard input ends."""
    die_with_parent()
    report = Reporter()
    spec = msgspec.json.decode(sys.stdin.buffer.readline(), type=Spec)
    import xllamacpp

    server = xllamacpp.Server(parameters(spec))
    report("ready", address=server.listening_address)
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
