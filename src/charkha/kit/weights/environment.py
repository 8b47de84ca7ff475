"""The environment of a child process that computes with torch. Free of torch, so that whoever spawns one can read it."""

from typing import Final

ENVIRONMENT: Final[dict[str, str]] = {
    # glibc gives large blocks back to the kernel after every step and faults them in again on the next: keep them.
    "MALLOC_MMAP_THRESHOLD_": str(4 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(16 << 30),
    "MALLOC_TOP_PAD_": str(256 << 20),
    # Threads that wait at an OpenMP barrier sleep: spinning would take the core from the engine that is serving.
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    # Nothing is ever fetched.
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}
