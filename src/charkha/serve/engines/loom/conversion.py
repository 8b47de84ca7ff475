"""`python -m charkha.serve.engines.loom.conversion GGUF MODELS_DIR`: make the Hugging Face directory, and print its path."""

import sys
from pathlib import Path

from charkha.kit.weights.child import die_with_parent
from charkha.kit.weights.hf import hf_directory

if __name__ == "__main__":
    die_with_parent()
    sys.stdout.write(f"{hf_directory(Path(sys.argv[1]), Path(sys.argv[2]))}\n")
