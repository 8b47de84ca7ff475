"""Low-rank adapters (LoRA, Hu et al., 2021) on the linear layers of a torch model. For child processes: imports torch.

Names, shapes and the configuration file are those of PEFT, which reads what is written here. The layer itself is
written out because it does less work than PEFT's: one fused product-and-sum, no casts of the activations.
"""

import json
import math
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from charkha.kit.weights.files import write_bytes

ADAPTER_FILE: Final = "adapter.safetensors"
CONFIG_FILE: Final = "adapter_config.json"
_PREFIX: Final = "base_model.model."


class LoraLinear(nn.Module):  # type: ignore[misc]  # torch is not followed: nn.Module is Any
    """y = x·Wᵀ + s·(x·Aᵀ)·Bᵀ with W frozen; A [rank, in] and B [out, rank] in float32. Without A and B: y = x·Wᵀ."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.lora_a: nn.Parameter | None = None
        self.lora_b: nn.Parameter | None = None
        self.scale = 1.0

    def adapt(self, lora_a: Tensor | None, lora_b: Tensor | None, scale: float = 1.0) -> None:
        """Set the adapter, or remove it with None."""
        self.lora_a = None if lora_a is None else nn.Parameter(lora_a.float())
        self.lora_b = None if lora_b is None else nn.Parameter(lora_b.float())
        self.scale = scale

    def forward(self, rows: Tensor) -> Tensor:
        """[..., in] → [..., out]."""
        output = self.base(rows)
        if self.lora_a is None or self.lora_b is None:
            return output
        low = functional.linear(rows, self.lora_a.to(rows.dtype)).flatten(0, -2)
        up = (self.lora_b * self.scale).to(rows.dtype)
        return torch.addmm(output.flatten(0, -2), low, up.t()).view_as(output)


def attach(model: Any) -> dict[str, LoraLinear]:
    """Put a LoraLinear around every linear layer but the output head. Returns them by their path in the model."""
    layers: dict[str, LoraLinear] = {}
    head = model.get_output_embeddings()
    for path, module in list(model.named_modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear) and child is not head:
                layer = layers[f"{path}.{name}" if path else name] = LoraLinear(child)
                setattr(module, name, layer)
    return layers


def initialise(layers: dict[str, LoraLinear], rank: int, alpha: float, seed: int) -> None:
    """Fresh adapters: A uniform as PEFT draws it, B zero, so that training starts at the base model."""
    generator = torch.Generator().manual_seed(seed)
    for layer in layers.values():
        bound = 1 / math.sqrt(layer.base.in_features)
        lora_a = torch.empty(rank, layer.base.in_features).uniform_(-bound, bound, generator=generator)
        layer.adapt(lora_a, torch.zeros(layer.base.out_features, rank), alpha / rank)


def tensors(layers: dict[str, LoraLinear]) -> dict[str, Tensor]:
    """The adapters by PEFT's names. The tensors are the parameters themselves, not copies."""
    found: dict[str, Tensor] = {}
    for path, layer in layers.items():
        if layer.lora_a is not None and layer.lora_b is not None:
            found[f"{_PREFIX}{path}.lora_A.weight"] = layer.lora_a
            found[f"{_PREFIX}{path}.lora_B.weight"] = layer.lora_b
    return found


def apply(layers: dict[str, LoraLinear], values: dict[str, Tensor], scale: float) -> None:
    """Set the adapters from tensors by PEFT's names; layers that are not named become plain again.

    Raises ValueError for a tensor of no layer of this model or of another shape.
    """
    rest = set(values)
    for path, layer in layers.items():
        names = (f"{_PREFIX}{path}.lora_A.weight", f"{_PREFIX}{path}.lora_B.weight")
        if not rest.issuperset(names):
            layer.adapt(None, None)
            continue
        lora_a, lora_b = (values[name] for name in names)
        if (lora_b.shape[0], lora_a.shape[1]) != (layer.base.out_features, layer.base.in_features):
            raise ValueError(f"The adapter is of another base model: {names[0]} has the shape {tuple(lora_a.shape)}.")
        layer.adapt(lora_a, lora_b, scale)
        rest.difference_update(names)
    if rest:
        raise ValueError(f"The adapter is of another base model: it has {min(rest)}.")


def write_config(directory: Path, rank: int, alpha: float, layers: dict[str, LoraLinear], base_hash: str) -> None:
    """Write PEFT's adapter_config.json."""
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_hash,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "target_modules": sorted({path.rpartition(".")[2] for path in layers}),
    }
    write_bytes(directory / CONFIG_FILE, json.dumps(config, indent=2).encode())
