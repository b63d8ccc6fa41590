"""Draw one phantom of each finding, beside its sentence, with the true voxels outlined.

    python benchmarks/phantom_picture.py -o docs/explanation/phantoms.png

The patients are those of the default grid, rendered at half its voxel size.
"""

import argparse
import textwrap

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from simcrop.data.phantom import LABEL_NAMES, Finding, Phantom, make_phantom

FINE_SHAPE, FINE_SPACING_MM = (120, 96, 72), (2.75, 2.75, 4.0)
LUNG_WINDOW_HU, SOFT_WINDOW_HU = (-1150, 250), (-220, 420)
IN_LUNG_WINDOW = {"Lung nodule", "Lung opacity", "Consolidation", "Atelectasis", "Emphysema"}


def find_one_each(seed: int) -> list[tuple[Phantom, Finding]]:
    """Return a phantom for every label, those with the fewest other findings first."""
    phantoms = [(i, make_phantom(seed, i)) for i in range(120)]
    phantoms.sort(key=lambda pair: len(pair[1].findings))
    chosen = []
    for label in LABEL_NAMES:
        index = next(i for i, p in phantoms if label in {f.label for f in p.findings})
        fine = make_phantom(seed, index, shape=FINE_SHAPE, spacing_mm=FINE_SPACING_MM)
        chosen.append((fine, next(f for f in fine.findings if f.label == label)))
    return chosen


def draw(pairs: list[tuple[Phantom, Finding]], path: str) -> None:
    """Write axial and coronal slices through the middle of every finding, as radiologists look."""
    figure, axes = plt.subplots(4, 5, figsize=(15, 12.8), facecolor="black")
    for column, (phantom, finding) in enumerate(pairs):
        row, place = 2 * (column // 5), column % 5
        counts = [finding.mask.sum(axis=tuple({0, 1, 2} - {a})) for a in range(3)]
        _, y, z = (int(np.argmax(c)) for c in counts)
        window = LUNG_WINDOW_HU if finding.label in IN_LUNG_WINDOW else SOFT_WINDOW_HU
        dx, dy, dz = np.diag(phantom.affine)[:3]
        views = ((np.s_[::-1, ::-1, z], dy / dx), (np.s_[::-1, y, ::-1], dz / dx))
        for axis, (view, aspect) in zip(axes[row : row + 2, place], views, strict=True):
            low, high = window
            axis.imshow(phantom.hu[view].T, cmap="gray", vmin=low, vmax=high, aspect=aspect)
            axis.contour(finding.mask[view].T, [0.5], colors="#ff5050", linewidths=1.4)
            axis.axis("off")
        title = f"{finding.label}\n" + "\n".join(textwrap.wrap(f"“{finding.sentence}”", 42))
        axes[row, place].set_title(title, color="white", fontsize=9)
    figure.tight_layout(pad=0.8)
    figure.savefig(path, dpi=62, facecolor="black")
    colours = Image.open(path).convert("RGB").quantize(128, Image.Quantize.FASTOCTREE)
    colours.save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", default="phantoms.png")
    parser.add_argument("--seed", type=int, default=3)
    args = parser.parse_args()
    draw(find_one_each(args.seed), args.output)


if __name__ == "__main__":
    main()
