"""What a person can choose of a fine-tuning run, with what each choice means. Imports no torch."""

import os

from pydantic import BaseModel, ConfigDict, Field

from charkha.kit.weights import hf


class Config(BaseModel):
    """The defaults bring 600 short texts of ten classes from chance to 0.9 in 200 seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rank: int = Field(16, ge=1, le=128, description="Rank of the adapter: its capacity and size.")
    alpha: float = Field(32.0, gt=0, le=1024, description="The adapter's output is scaled by alpha / rank.")
    learning_rate: float = Field(1e-3, gt=0, le=1.0, description="Peak rate of AdamW.")
    weight_decay: float = Field(0.0, ge=0, le=1.0, description="How strongly each step draws the weights to zero.")
    max_grad_norm: float = Field(1.0, gt=0, description="Longer gradients are scaled down to this norm.")
    epochs: float = Field(3.0, gt=0, le=1000, description="Passes over the examples, if they fit max_seconds.")
    min_steps: int = Field(80, ge=1, le=100_000, description="More passes than epochs if this many steps need them.")
    batch_size: int = Field(8, ge=1, le=256, description="Examples in a step.")
    warmup_steps: int = Field(10, ge=1, le=1000, description="Steps of rising rate; a tenth of all at most.")
    max_length: int = Field(
        512, ge=16, le=8192, description="Tokens of an example; longer user texts lose their start."
    )
    max_seconds: float = Field(200.0, gt=0, description="Time for the training loop; fewer steps are made if need be.")
    validation_share: float = Field(0.05, ge=0, le=0.5, description="Share kept aside, of 100 examples or more.")
    patience: int = Field(2, ge=1, description="Stop after so many passes without an improvement on those kept aside.")
    checkpoint_seconds: float = Field(20.0, gt=0, description="At most this much work is lost by a crash.")
    precision: hf.Precision = Field("auto", description="Of the base weights; auto takes the faster here.")
    threads: int = Field(
        default_factory=lambda: len(os.sched_getaffinity(0)),
        ge=1,
        le=1024,
        description="Threads of the arithmetic; by default one for each core.",
    )
