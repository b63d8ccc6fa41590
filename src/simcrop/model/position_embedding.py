"""Fixed sine-cosine position embeddings of the patch grid.

`sine_cosine_3d` is the default. `two_axis` is the table of the authors' released code, whose
rows do not depend on the depth index: only gx * gy of its rows differ (196 of 2,744 at the
paper's size), so it serves to load their weights and to measure what the defect costs.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from simcrop.geometry import Shape3

Table = Float[Tensor, "patches dim"]
Step = tuple[float, float, float]

ONE_CELL: Step = (1.0, 1.0, 1.0)


def _cells(grid_shape: Shape3, step: Step) -> Float[Tensor, "patches 3"]:
    axes = [torch.arange(n, dtype=torch.float64) * s for n, s in zip(grid_shape, step, strict=True)]
    return torch.cartesian_prod(*axes)


def sine_cosine_3d(
    grid_shape: Shape3, dim: int, step: Step = ONE_CELL, temperature: float = 10_000.0
) -> Table:
    """Return a table with one distinct row per grid cell.

    The channels are sine and cosine of x, then of y, then of z, with dim // 6 frequencies
    each; up to five channels that are left over stay zero, so any width of at least 6 works.

    Args:
        grid_shape: cells along x, y, z.
        dim: width of a row.
        step: how far apart cells are along each axis, in cells of the grid that the weights were
            trained on; 0.5 where a patch is half as wide in mm.
        temperature: ratio of the longest wave to the shortest.

    Raises:
        ValueError: if `dim` is below 6.
    """
    if dim < 6:
        raise ValueError(f"position embedding of width {dim}; three axes need at least 6")
    num_frequencies = dim // 6
    exponents = torch.arange(num_frequencies, dtype=torch.float64) / num_frequencies
    angles = _cells(grid_shape, step)[:, :, None] * temperature**-exponents
    table = torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(start_dim=1)
    return torch.nn.functional.pad(table, (0, dim - table.shape[1])).float()


def two_axis(
    grid_shape: Shape3, dim: int, step: Step = ONE_CELL, temperature: float = 10_000.0
) -> Table:
    """Return the authors' table: sine of x on even, cosine of y on odd channels, z unused.

    Differs: nothing; kept by name to load the authors' checkpoint (their released code).

    Raises:
        ValueError: if `dim` is odd.
    """
    if dim % 2:
        raise ValueError(f"two-axis position embedding of odd width {dim}; expected an even one")
    exponents = torch.arange(0, dim, 2, dtype=torch.float64) / dim
    x, y, _ = _cells(grid_shape, step).unbind(dim=1)
    table = torch.empty(len(x), dim, dtype=torch.float64)
    table[:, 0::2] = (x[:, None] * temperature**-exponents).sin()
    table[:, 1::2] = (y[:, None] * temperature**-exponents).cos()
    return table.float()


POSITION_EMBEDDINGS: dict[str, Callable[..., Table]] = {
    "sine_cosine_3d": sine_cosine_3d,
    "two_axis": two_axis,
}


def position_table(name: str, grid_shape: Shape3, dim: int, step: Step = ONE_CELL) -> Table:
    """Return the position table of that name; see `sine_cosine_3d` for `step`.

    Raises:
        ValueError: if there is none of that name, or the width does not suit it.
    """
    if name not in POSITION_EMBEDDINGS:
        raise ValueError(f"position table {name!r}; choose one of {[*POSITION_EMBEDDINGS]}")
    return POSITION_EMBEDDINGS[name](grid_shape, dim, step)
