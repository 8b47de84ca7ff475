"""What the forward pass must know of a model: sizes, and the few things in which architectures of Llama's family differ.

Pure: a Hugging Face `config.json` in, an `Architecture` out. A further architecture is a line of `_FAMILY`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from charkha.core.errors import Invalid


@dataclass(frozen=True)
class Traits:
    """How a family differs from Llama: biases on query, key and value; an RMS norm on each head's query and key."""

    qkv_bias: bool = False
    qk_norm: bool = False


_FAMILY: Final = {
    "llama": Traits(),
    "mistral": Traits(),
    "qwen2": Traits(qkv_bias=True),
    "qwen3": Traits(qk_norm=True),
}


@dataclass(frozen=True)
class Architecture:
    """Sizes of a model. `width` is the residual stream's, `inner` the feed-forward's, `head` one attention head's."""

    traits: Traits
    layers: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    head: int
    vocabulary: int
    epsilon: float
    theta: float
    tied: bool

    @classmethod
    def of(cls, directory: Path) -> "Architecture":
        """Read it from a Hugging Face directory. Raises Invalid for a model that this engine cannot compute."""
        config: dict[str, Any] = json.loads((directory / "config.json").read_text())
        kind = config["model_type"]
        if kind not in _FAMILY:
            remedy = f"Serve it with llama_cpp, or use one of: {', '.join(_FAMILY)}."
            raise Invalid(f"The engine loom does not know models of type '{kind}'.", remedy=remedy)
        heads, width = config["num_attention_heads"], config["hidden_size"]
        return cls(
            traits=_FAMILY[kind],
            layers=config["num_hidden_layers"],
            width=width,
            inner=config["intermediate_size"],
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head=config.get("head_dim") or width // heads,
            vocabulary=config["vocab_size"],
            epsilon=config["rms_norm_eps"],
            theta=_theta(config),
            tied=bool(config.get("tie_word_embeddings")),
        )

    @property
    def projections(self) -> dict[str, dict[str, int]]:
        """The fused linear layers of one block: name → the projections fused in it, in order, with their outputs."""
        keys = self.kv_heads * self.head
        return {
            "qkv": {"q_proj": self.heads * self.head, "k_proj": keys, "v_proj": keys},
            "out": {"o_proj": self.width},
            "gate_up": {"gate_proj": self.inner, "up_proj": self.inner},
            "down": {"down_proj": self.width},
        }

    def inputs(self, fused: str) -> int:
        """How many inputs a fused linear layer has."""
        return {"out": self.heads * self.head, "down": self.inner}.get(fused, self.width)


def _theta(config: dict[str, Any]) -> float:
    """The base of the rotary frequencies. Raises Invalid for a scaling of them."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        remedy = "Serve it with llama_cpp."
        raise Invalid(f"The engine loom does not know rotary positions of type '{kind}'.", remedy=remedy)
    return float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0)
