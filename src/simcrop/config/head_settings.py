"""How a classification head is trained by gradient, and a whole network with it."""

from typing import Annotated

from pydantic import Field

from simcrop.config.section import Count, Positive, Section


class HeadConfig(Section):
    """AdamW with linear warm-up and a half cosine to zero, per step; validation takes the best."""

    lr: Positive
    """Peak learning rate."""
    batch_size: Count
    """Volumes per step; all training volumes, where there are fewer."""
    steps: Count
    """Updates, and the length of the cosine."""
    warmup: Annotated[int, Field(ge=0)]
    """Updates of the linear rise at the start."""
    patience: Count
    """Looks at validation without a better score after which training ends."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-5
    """Of all weights. KNOWN for the linear probe."""
    clip: Positive = 1.0
    """Largest gradient norm. KNOWN for the linear probe."""
    first_patient_epoch: Annotated[int, Field(ge=0)] = 10
    """Epochs before patience counts. KNOWN for the linear probe."""


class FinetuneConfig(Section):
    """Encoder and linear head trained together. The authors report none: every value is ours."""

    lr: Positive = 1e-4
    """Peak learning rate of the encoder."""
    head_lr: Positive = 1e-3
    """Peak learning rate of the head, which starts from nothing."""
    batch_size: Count = 8
    """Volumes per step."""
    epochs: Count = 10
    """Passes over the training volumes; the best by validation is kept."""
    warmup_share: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """Share of the updates in which the rate rises."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.05
    """Not on biases and norms."""
    clip: Positive = 1.0
    """Largest gradient norm."""
