"""The grid that a phantom is painted on: voxel centres in mm, HU, organ labels and air left.

Every organ and lesion is painted with a soft edge one voxel wide, so a thin vessel darkens by
partial volume as in a scanner. Painting works inside bounding boxes, which is what keeps a
phantom within its few milliseconds.
"""

from collections.abc import Callable

import numpy as np

from simcrop.data.phantom.shapes import Number, Point, capsule, ellipsoid

Box = tuple[slice, slice, slice]
Distance = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

AIR_HU = -1000.0

ORGAN_NAMES = (
    "background", "left lung", "right lung", "trachea and bronchi", "heart", "aorta", "spine",
    "ribs", "liver", "spleen", "stomach",
)  # fmt: skip
ORGAN = {name: value for value, name in enumerate(ORGAN_NAMES)}


class Canvas:
    """A grid of voxels seen from the patient, who lies shifted and rolled in the scanner.

    Attributes:
        hu: Number32, (x, y, z) in RAS+ order.
        organs: uint8 label of the organ that owns each voxel, 0 for none.
        aerated: share of each voxel that is still air-filled lung; lesions of the lung are
            painted into this share only, so they never leave the lung.
        edge_mm: width of the soft edge, the mean voxel size.
    """

    def __init__(
        self, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float],
        shift_mm: Point, roll: Number,
    ) -> None:  # fmt: skip
        self.spacing_mm = spacing_mm
        self.edge_mm = float(np.mean(spacing_mm))
        self.origin_mm = -(np.array(shape) - 1) / 2 * spacing_mm
        x, y, z = (
            (o + np.arange(n) * s - d).astype(np.float32)
            for o, n, s, d in zip(self.origin_mm, shape, spacing_mm, shift_mm, strict=True)
        )
        self._shift, self._roll = np.asarray(shift_mm), roll
        cos, sin = np.float32(np.cos(roll)), np.float32(np.sin(roll))
        self.u = (cos * x[:, None] + sin * y)[:, :, None]
        self.v = (cos * y - sin * x[:, None])[:, :, None]
        self.w = z[None, None]
        self.hu = np.full(shape, AIR_HU, np.float32)
        self.organs = np.zeros(shape, np.uint8)
        self.aerated = np.zeros(shape, np.float32)

    @property
    def affine(self) -> np.ndarray:
        """The 4 x 4 matrix from voxel indices to RAS+ mm."""
        affine = np.diag([*self.spacing_mm, 1.0])
        affine[:3, 3] = self.origin_mm
        return affine

    def box(self, low: Point, high: Point) -> Box:
        """Return the voxels that can touch a solid with these corners in the patient's mm."""
        cos, sin = np.cos(self._roll), np.sin(self._roll)
        u, v = np.array([low[0], high[0]])[:, None], np.array([low[1], high[1]])
        x, y = cos * u - sin * v, sin * u + cos * v
        corners = np.array([[x.min(), y.min(), low[2]], [x.max(), y.max(), high[2]]])
        index = (corners + self._shift - self.origin_mm) / self.spacing_mm
        first = np.floor(index[0] - 1).astype(int).clip(0, self.hu.shape)
        last = (np.ceil(index[1]) + 2).astype(int).clip(0, self.hu.shape)
        bx, by, bz = (slice(a, b) for a, b in zip(first.tolist(), last.tolist(), strict=True))
        return bx, by, bz

    @property
    def everywhere(self) -> Box:
        """The box that is the whole grid."""
        bx, by, bz = (slice(0, n) for n in self.hu.shape)
        return bx, by, bz

    def cover(self, box: Box, distance: Distance) -> np.ndarray:
        """Return the share of each voxel of the box that lies inside a solid, in [0, 1]."""
        bx, by, bz = box
        share = distance(self.u[bx, by], self.v[bx, by], self.w[..., bz])
        share = share * np.float32(-1 / self.edge_mm)
        share += np.float32(0.5)
        return np.clip(share, 0, 1, out=share)

    def paint(
        self, box: Box, cover: np.ndarray, hu: Number | np.ndarray, organ: int | None = None,
        *, keeps_air: bool = False,
    ) -> None:  # fmt: skip
        """Mix an intensity into the box and, where it owns a voxel, set the organ label."""
        part = self.hu[box]
        part += cover * (hu - part)
        if organ is not None:
            self.organs[box][cover > 0.5] = organ
        if not keeps_air:
            self.aerated[box] *= 1 - cover

    def tube(
        self, line: list[np.ndarray], radii: list[Number], hu: Number, organ: int | None = None,
        *, keeps_air: bool = False,
    ) -> None:  # fmt: skip
        """Paint a tube along a line of points, one capsule per piece."""
        for a, b, r0, r1 in zip(line, line[1:], radii, radii[1:], strict=False):
            reach = max(r0, r1)
            box = self.box(np.minimum(a, b) - reach, np.maximum(a, b) + reach)
            cover = self.cover(
                box, lambda u, v, w, a=a, b=b, radii=(r0, r1): capsule(u, v, w, a, b, radii)
            )
            self.paint(box, cover, hu, organ, keeps_air=keeps_air)

    def ball(
        self, center: np.ndarray, half_axes: np.ndarray, hu: Number, organ: int | None = None,
        *, turn: Number = 0.0,
    ) -> None:  # fmt: skip
        """Paint an ellipsoid, turned about the z axis by `turn` radians."""
        reach = np.array([max(half_axes[:2]), max(half_axes[:2]), half_axes[2]])
        box = self.box(center - reach, center + reach)
        cover = self.cover(box, lambda u, v, w: ellipsoid(u, v, w, center, half_axes, turn))
        self.paint(box, cover, hu, organ)
