"""The authors' settings of the linear probe, set by set and fraction by fraction.

Values: method.md, section 11 (read in the authors' code). Where their README and script disagree
(CT-RATE at 1 %: 2,000 or 1,000 steps) the script's is taken. A set or a fraction that they did not
run takes the nearest that they did.
"""

import math

from simcrop.config import HeadConfig
from simcrop.data.label_names import CC_CCII, CT_RATE, LUNA16, RAD_CHEST_CT
from simcrop.errors import ConfigError, complain


def _head(lr: float, batch_size: int, steps: int, warmup: int, patience: int) -> HeadConfig:
    return HeadConfig(
        lr=lr, batch_size=batch_size, steps=steps, warmup=warmup, patience=patience
    )  # fmt: skip


PAPER_HEADS: dict[str, dict[float, HeadConfig]] = {
    "ct_rate": {
        0.01: _head(1.5e-3, 32, 1000, 150, 10),
        0.1: _head(3e-3, 64, 10000, 1500, 10),
        1.0: _head(3e-3, 64, 10000, 1500, 10),
    },
    "rad_chest_ct": {
        0.1: _head(1.5e-3, 32, 2000, 80, 10),
        1.0: _head(3e-3, 128, 2000, 200, 10),
    },
    "cc_ccii": {
        0.01: _head(1.5e-3, 29, 200, 20, 20),
        0.1: _head(1.5e-3, 32, 2000, 150, 20),
        1.0: _head(1.5e-3, 128, 2000, 200, 20),
    },
    "luna16": {
        0.1: _head(1.5e-3, 31, 200, 20, 200),
        1.0: _head(1.5e-3, 32, 2000, 200, 20),
    },
}

ATTENTIVE_HEAD = HeadConfig(
    lr=1e-3, batch_size=32, steps=1000, warmup=100, patience=10, weight_decay=0.05
)
"""Of the attentive probe, which the authors do not have: every value is ours."""

_LABELS = {
    "ct_rate": CT_RATE,
    "rad_chest_ct": RAD_CHEST_CT,
    "cc_ccii": CC_CCII,
    "luna16": LUNA16,
}


def protocol_of(label_names: tuple[str, ...]) -> str:
    """Return the set whose labels these are; `rad_chest_ct`, the mildest, for any other."""
    matching = [name for name, known in _LABELS.items() if set(known) == set(label_names)]
    return matching[0] if matching else "rad_chest_ct"


def paper_head(protocol: str, fraction: float) -> HeadConfig:
    """Return the authors' settings; those of the nearest fraction (by ratio) if they had none.

    Raises:
        ConfigError: if there is no such protocol.
    """
    if protocol not in PAPER_HEADS:
        raise ConfigError(
            complain(f"protocol {protocol!r}", f"one of {', '.join(PAPER_HEADS)}", "Choose one.")
        )
    of_fraction = PAPER_HEADS[protocol]
    return of_fraction[min(of_fraction, key=lambda known: abs(math.log(known / fraction)))]
